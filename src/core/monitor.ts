/**
 * Keeps the picture of the cluster fresh: one poller a node, however many reads wait.
 *
 * The pace follows the need: the round trip while somebody waits, or a small part of the node's delay if that is more; several
 * times a second for as long as a replica is behind the newest commit this router knows of (the author will read soon); slowly
 * otherwise. A node that cannot be asked is reported lost, and asked again for ever: it is re-admitted by the first answer.
 */
import type { Clock, Timer } from './clock.js'
import type { Cluster } from './cluster.js'
import type { Observation, Probe } from './engine.js'
import { publish } from './events.js'
import type { Node } from './node.js'
import type { WaitingRoom } from './waiting-room.js'

export interface MonitorOptions {
  /** Between two polls of a node that is caught up and that nobody waits for. Default 500. */
  readonly pollIntervalMs?: number
  /** A node that has not answered a poll for this long counts as lost. Default 1 000. */
  readonly pollTimeoutMs?: number
}

/** Polling faster than this gains nothing and only heats the server. */
const MIN_PAUSE_MS = 1
const MAX_URGENT_PAUSE_MS = 20
/** Of a node's delay, this part is not noticed by who has waited for it anyway. */
const PART_OF_LAG = 1 / 32
/** Under a stream of writes replicas are always behind: this is then the pace, so it must cost the servers little. */
const BEHIND_PAUSE_MS = 100

export class Monitor {
  readonly #pollers: Poller[]
  readonly #context: PollerContext
  #refreshing: Promise<void> | undefined
  #nextRefresh: Promise<void> | undefined

  constructor(cluster: Cluster, waitingRoom: WaitingRoom, probe: Probe, clock: Clock, options: MonitorOptions = {}) {
    const context: PollerContext = {
      cluster,
      waitingRoom,
      probe,
      clock,
      pollIntervalMs: options.pollIntervalMs ?? 500,
      pollTimeoutMs: options.pollTimeoutMs ?? 1_000,
    }
    this.#context = context
    this.#pollers = cluster.nodes.map(node => new Poller(node, context))
    waitingRoom.onFirst = () => this.nudge()
  }

  /**
   * Asks every node once and resolves when each has answered or failed; polling goes on from then. Never rejects.
   * Primaries are entered first, in the order of configuration: the first to be entered decides which system this is, and
   * a stray node that happens to answer quickly must not.
   */
  async start(): Promise<void> {
    const asked = this.#pollers.map(async poller => ({ poller, answer: await poller.ask() }))
    const answered = await Promise.all(asked)
    const rank = ({ answer }: { answer: Answer }) => (answer.seen?.role === 'primary' ? 0 : 1)
    for (const { poller, answer } of answered.sort((a, b) => rank(a) - rank(b))) poller.take(answer)
  }

  /** Ask everybody soon: a read waits, a commit was captured, a connection broke. Cheap, and coalesced per node. */
  nudge(): void {
    for (const poller of this.#pollers) poller.nudge()
  }

  /** Asks every node after this call, and resolves when each has answered or failed, within the poll's time-out. Never rejects. */
  refresh(): Promise<void> {
    if (this.#refreshing === undefined) {
      this.#refreshing = this.#refresh().finally(() => {
        this.#refreshing = undefined
      })
      return this.#refreshing
    }
    // The one under way may have asked before what the caller wants to know of: all who come meanwhile share the next.
    this.#nextRefresh ??= this.#refreshing.then(() => {
      this.#nextRefresh = undefined
      return this.refresh()
    })
    return this.#nextRefresh
  }

  async #refresh(): Promise<void> {
    await Promise.all(this.#pollers.map(poller => poller.refresh()))
  }

  /** Watches one more node, and resolves when it has answered or failed once. Never rejects. */
  async add(node: Node): Promise<void> {
    const poller = new Poller(node, this.#context)
    this.#pollers.push(poller)
    await poller.refresh()
  }

  remove(node: Node): void {
    const at = this.#pollers.findIndex(poller => poller.node === node)
    for (const poller of at < 0 ? [] : this.#pollers.splice(at, 1)) poller.stop()
  }

  stop(): void {
    for (const poller of this.#pollers) poller.stop()
  }
}

interface PollerContext extends Required<MonitorOptions> {
  readonly cluster: Cluster
  readonly waitingRoom: WaitingRoom
  readonly probe: Probe
  readonly clock: Clock
}

/** What a node said, or why it did not. */
type Answer = { readonly seen: Observation; readonly error?: undefined } | { readonly seen?: undefined; readonly error: unknown }

class Poller {
  readonly node: Node
  readonly #context: PollerContext
  #timer: Timer | undefined
  #dueAt = Number.POSITIVE_INFINITY
  #polling = false
  #poll: Promise<void> | undefined
  #stopped = false

  constructor(node: Node, context: PollerContext) {
    this.node = node
    this.#context = context
  }

  nudge(): void {
    if (this.#polling || this.#stopped) return
    const { clock } = this.#context
    // Also what keeps a stream of commits from polling once each.
    const pauseMs = this.#pauseMs()
    if (this.#dueAt > clock.now() + pauseMs) this.#schedule(pauseMs)
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
  }

  poll(): Promise<void> {
    this.#poll ??= this.ask()
      .then(answer => this.take(answer))
      .finally(() => {
        this.#poll = undefined
      })
    return this.#poll
  }

  /** A poll that begins after this call. */
  async refresh(): Promise<void> {
    try {
      await this.#poll
      if (!this.#stopped) await this.poll()
    } catch (error) {
      this.#warn(error)
    }
  }

  async ask(): Promise<Answer> {
    const { probe, pollTimeoutMs } = this.#context
    this.#polling = true
    this.#dueAt = Number.POSITIVE_INFINITY
    try {
      return { seen: await probe(this.node.id, pollTimeoutMs) }
    } catch (error) {
      return { error }
    }
  }

  take({ seen, error }: Answer): void {
    const { cluster } = this.#context
    this.#polling = false
    if (this.#stopped) return
    try {
      if (seen !== undefined) cluster.observe(this.node, seen)
      else cluster.lose(this.node, { reason: describe(error), cause: error })
    } finally {
      this.#schedule(this.#pauseMs())
    }
  }

  #pauseMs(): number {
    const { cluster, waitingRoom, pollIntervalMs } = this.#context
    const node = this.node
    // There is nowhere to write: whoever is promoted must be noticed soon.
    if (!cluster.writable) return Math.min(BEHIND_PAUSE_MS, pollIntervalMs)
    // Nobody is helped by hearing sooner from a node that cannot serve, or of which nothing may be remembered.
    if (!node.usable || node.balanced) return pollIntervalMs
    const somebodyWaits = waitingRoom.size > 0
    if (somebodyWaits && node.follows) {
      return Math.min(MAX_URGENT_PAUSE_MS, Math.max(MIN_PAUSE_MS, node.latencyMs, node.lagMs * PART_OF_LAG))
    }
    // Nobody waits for the primary; but by where it is, the others are judged.
    return somebodyWaits || cluster.isBehind(node) ? Math.min(BEHIND_PAUSE_MS, pollIntervalMs) : pollIntervalMs
  }

  #schedule(delayMs: number): void {
    const { clock } = this.#context
    this.#timer?.cancel()
    this.#dueAt = clock.now() + delayMs
    this.#timer = clock.setTimer(() => void this.poll().catch(error => this.#warn(error)), delayMs)
  }

  /** Nothing in `poll` should throw; if a listener did, say so and live. */
  #warn(error: unknown): void {
    publish('tidemark:warning', () => ({
      db: this.#context.cluster.name,
      message: `the poller of ${this.node.id} failed`,
      cause: error,
    }))
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
