/**
 * Walks one read down its ladder: decides, waits, has the engine try the node, moves on when that node cannot. The
 * decisions are pure (`ladder.ts`); this file holds the order of events and the bounds.
 */
import type { Clock } from './clock.js'
import type { Cluster } from './cluster.js'
import { TidemarkError } from './errors.js'
import { publish, type RerouteReason } from './events.js'
import { entriesOf, type Fence, isLeftMeanwhile, isPositionFence } from './fence.js'
import type { Gather, Ladder, Rung, Situation, Step, Vain, Wait } from './ladder.js'
import type { Node, QuickKind } from './node.js'
import type { FallbackReason, Guarantee, Outcome } from './outcome.js'
import { Position } from './position.js'
import type { CacheEntry } from './session-cache.js'
import type { WaitingRoom } from './waiting-room.js'

/** Thrown by an engine's attempt: this node cannot serve this read (and has not), another may. */
export class Reroute {
  readonly reason: RerouteReason
  /** The driver's error, thrown to the caller if no other node can serve. */
  readonly cause: unknown
  constructor(reason: RerouteReason, cause?: unknown) {
    this.reason = reason
    this.cause = cause
  }
}

/** The ladder ended and no rung served the read. */
export class NotServedError extends TidemarkError {
  declare readonly code: 'TIDEMARK_NOT_SERVED'
  /** What the session needed, in words. */
  readonly required: string
  /** What each node had to say, in words. */
  readonly nodes: readonly string[]
  readonly waitedMs: number
  constructor(required: string, nodes: readonly string[], waitedMs: number, options?: ErrorOptions) {
    super(
      'TIDEMARK_NOT_SERVED',
      `no rung of the ladder could serve this read; it needs ${required}. ${nodes.join('; ')}. ` +
        'Let it degrade by adding a rung (stale, notReady), raise a budget, or mend the nodes.',
      options,
    )
    this.required = required
    this.nodes = nodes
    this.waitedMs = waitedMs
  }
}

export interface ReadRequest {
  readonly fence: Fence
  readonly ladder: Ladder
  /** What the session asked for; `undefined` when it asked for nothing. */
  readonly guarantee: Guarantee | undefined
  readonly signal?: AbortSignal | undefined
  /** It is not published: see `Session.quiet`. */
  readonly quiet?: boolean | undefined
  /** The author's own value for what this read asks for; only one that is new enough for the fence. */
  readonly cached?: CacheEntry | undefined
  /** Of which kind it is when it may be sent together with others. */
  readonly quick?: QuickKind | undefined
}

/** How an engine runs a read. */
export interface Attempts<R> {
  readonly onNode: Attempt<R>
  /** Asks several nodes where they are and reads from the freshest, on the connection that was asked. */
  readonly gather?: (gather: Gather, rung: Rung) => Promise<{ readonly result: R; readonly node: Node }>
  readonly fromCache?: (entry: CacheEntry) => R
}

/** Runs the read on one node. Throws {@link Reroute} when that node could not serve it, any other error to end the read. */
export type Attempt<R> = (node: Node, rung: Rung) => Promise<R>

export interface Served<R> {
  readonly result: R
  readonly outcome: Outcome
}

/** The `node` of an outcome that no node has served. */
export const SESSION_CACHE = 'session-cache'

/** Over how many reads the share of pinned ones is averaged. */
const PIN_WINDOW = 1_000

/** A read is moved at most this often, however nodes fail: a bound on the work of one read. */
const MAX_REROUTES = 8

export class Router {
  readonly cluster: Cluster
  readonly waitingRoom: WaitingRoom
  readonly #clock: Clock
  #fallbacksInFlight = 0
  #pinShare = 0
  #turn = 0
  /** At how many nodes every acknowledged write is. */
  writeQuorum: () => number = () => 1

  constructor(cluster: Cluster, waitingRoom: WaitingRoom, clock: Clock) {
    this.cluster = cluster
    this.waitingRoom = waitingRoom
    this.#clock = clock
  }

  /** `as` makes of what was served what the caller is to have. Default: just that. */
  async read<R, T = Served<R>>(
    request: ReadRequest,
    attempts: Attempts<R>,
    as: (served: Served<R>) => T = served => served as T,
  ): Promise<T> {
    const walk = new Walk(request)
    const turn = this.#turn++
    for (;;) {
      request.signal?.throwIfAborted()
      const [rung, step] = this.#next(walk, this.situation(request, walk.excluded, turn))
      if (step.kind === 'refusal') throw this.#refused(walk, step.error)
      else if (step.kind === 'wait') await this.#wait(walk, rung, step)
      else if (step.kind === 'cached') {
        if (attempts.fromCache === undefined) walk.index++
        else return as({ result: attempts.fromCache(step.entry), outcome: this.#outcome(walk, undefined, rung) })
      } else if (step.kind === 'gather') {
        const served = await this.#gather(walk, step, rung, attempts)
        if (served !== undefined) return as({ result: served.result, outcome: this.#outcome(walk, served.node, rung) })
      } else {
        // Not in a function of its own: its promise would cost every read.
        const leave = this.#enter(step, rung)
        let result: R
        try {
          result = await attempts.onNode(step, rung)
        } catch (error) {
          this.#rerouted(walk, step, error)
          continue
        } finally {
          leave()
        }
        return as({ result, outcome: this.#outcome(walk, step, rung) })
      }
    }
  }

  /** The first rung from here on that does not pass. They all look at one situation: nothing happens in between. */
  #next(walk: Walk, situation: Situation): readonly [Rung, Exclude<Step, Vain | undefined>] {
    for (; ; walk.index++) {
      const rung = walk.request.ladder[walk.index]
      if (rung === undefined) throw this.#refused(walk, this.#notServed(walk))
      const step = rung.step(situation)
      if (step === undefined) continue
      if (step.kind !== 'vain') return [rung, step]
      walk.wait ??= 'skipped'
    }
  }

  /** What a rung may look at now. */
  situation(request: ReadRequest, excluded: ReadonlySet<Node> | undefined, turn: number): Situation {
    return {
      cluster: this.cluster,
      fence: request.fence,
      now: this.#clock.now(),
      excluded,
      fallbacksInFlight: this.#fallbacksInFlight,
      pinShare: this.#pinShare,
      writeQuorum: this.writeQuorum(),
      cached: request.cached,
      quick: request.quick,
      turn,
    }
  }

  /** `undefined` passes to the next rung: a quorum that cannot be had now is not had sooner by asking again. */
  async #gather<R>(walk: Walk, step: Gather, rung: Rung, { gather }: Attempts<R>) {
    try {
      if (gather !== undefined) return await gather(step, rung)
    } catch (error) {
      if (!(error instanceof Reroute)) throw error
      publish('tidemark:reroute', () => ({ db: this.cluster.name, node: rung.name, reason: error.reason, cause: error.cause }))
      if (++walk.reroutes > MAX_REROUTES) throw error.cause ?? this.#refused(walk, this.#notServed(walk))
      walk.lastCause = error.cause ?? walk.lastCause
    }
    walk.index++
    return undefined
  }

  /**
   * Waits until the fence is open somewhere, then looks for the node with the rungs before the waiting one. When those
   * find none after all (the node that woke us is excluded, or went away) the wait goes on with what is left of its
   * budget: a waiting rung has one budget a read, however often the read comes by.
   */
  async #wait(walk: Walk, rung: Rung, { budgetMs, target }: Wait): Promise<void> {
    const { fence, signal } = walk.request
    if (!isPositionFence(fence)) {
      walk.index++
      return
    }
    const startedAt = this.#clock.now()
    const deadline = walk.deadlineOf(rung, startedAt + budgetMs)
    const leftMs = deadline - startedAt
    const woken =
      fence.kind === 'at'
        ? await this.waitingRoom.wait(fence.lineage, fence.offset, leftMs, signal, target)
        : await this.waitingRoom.waitForAll(fence.position, leftMs, signal, target)
    walk.waitedMs += this.#clock.now() - startedAt
    if (woken === 'timed-out' || walk.wakes++ >= MAX_REROUTES) {
      walk.wait = 'timed-out'
      walk.index++
    } else {
      walk.wait = 'succeeded'
      walk.servedByWait = rung
      walk.index = 0
    }
  }

  /** Counts a read in on its node, and returns how to count it out. */
  #enter(node: Node, rung: Rung): () => void {
    // Of a leaderless cluster, a peer that was chosen as one would choose the primary.
    const onPrimary = node === this.cluster.primary || (this.cluster.logs !== undefined && rung.fallback === true)
    node.inFlight++
    if (onPrimary) this.#fallbacksInFlight++
    this.#pinShare += (Number(rung.pins === true && onPrimary) - this.#pinShare) / PIN_WINDOW
    return () => {
      node.inFlight--
      if (onPrimary) this.#fallbacksInFlight--
    }
  }

  /** Makes the walk go on without that node. Throws when the error ends the read. */
  #rerouted(walk: Walk, node: Node, error: unknown): void {
    if (!(error instanceof Reroute)) throw error
    publish('tidemark:reroute', () => ({ db: this.cluster.name, node: node.id, reason: error.reason, cause: error.cause }))
    if (++walk.reroutes > MAX_REROUTES) throw error.cause ?? this.#refused(walk, this.#notServed(walk))
    walk.lastCause = error.cause ?? walk.lastCause
    // A node found in a new incarnation has just told where it is now: it may well qualify again.
    if (error.reason !== 'new-incarnation') walk.exclude(node)
    walk.needsPrimary ||= error.reason === 'needs-primary'
    walk.index = error.reason === 'needs-primary' ? this.#primaryRung(walk) : 0
  }

  /** The read can only run on the primary: the ladder's own bound on that applies. */
  #primaryRung(walk: Walk): number {
    const index = walk.request.ladder.findIndex(rung => rung.fallback === true)
    return index < 0 ? walk.request.ladder.length : index
  }

  #outcome(walk: Walk, node: Node | undefined, rung: Rung): Outcome {
    const { guarantee, fence } = walk.request
    // Also when the history changed while the read was under way: nobody has judged its fence against the new one.
    const possiblyLost = fence.kind === 'possibly-lost' || isLeftMeanwhile(fence, this.cluster)
    const outcome: Outcome = {
      node: node?.id ?? SESSION_CACHE,
      rung: rung.name === 'replica' && walk.servedByWait !== undefined ? walk.servedByWait.name : rung.name,
      fallback: this.#fallback(walk, rung),
      wait: walk.wait,
      waitedMs: walk.waitedMs,
      guarantee: rung.fenced && !possiblyLost && guarantee !== undefined ? guarantee : 'eventual',
      possiblyLost,
      stalenessMs: node && this.cluster.stalenessMs(node, this.#clock.now()),
      reroutes: walk.reroutes,
    }
    if (walk.request.quiet !== true) publish('tidemark:read', () => ({ db: this.cluster.name, ...outcome }))
    return outcome
  }

  /** Why this rung served and not one before it that spares the primary. */
  #fallback({ index, excluded, needsPrimary, request: { ladder, fence } }: Walk, rung: Rung): FallbackReason | undefined {
    if (rung.fenced && rung.fallback !== true) return undefined
    let spared = false
    for (let before = 0; before < index; before++) spared ||= ladder[before]!.fallback !== true
    if (!spared) return undefined
    if (needsPrimary) return 'needs-primary'
    if (fence.kind === 'primary') return 'uncertain'
    if (fence.kind === 'possibly-lost') return 'possibly-lost'
    const isLeft = (node: Node) => node.usable && node.role !== 'primary' && excluded?.has(node) !== true
    return this.cluster.nodes.some(isLeft) ? 'behind' : 'no-replica'
  }

  #refused(walk: Walk, error: TidemarkError): TidemarkError {
    const { wait, waitedMs, request } = walk
    if (request.quiet !== true) publish('tidemark:refused', () => ({ db: this.cluster.name, code: error.code, wait, waitedMs }))
    return error
  }

  #notServed(walk: Walk): NotServedError {
    const required = this.#required(walk.request.fence)
    const nodes = this.cluster.nodes.map(node => {
      const at = node.lineage === undefined ? node.peer?.applied.toString() : `${node.lineage}@${node.applied}`
      const where = at === undefined ? 'position not known' : `at ${at}`
      return `${node.id}: ${node.usable ? `${node.role}, ${where}` : node.problem?.reason}`
    })
    return new NotServedError(required, nodes, walk.waitedMs, { cause: walk.lastCause })
  }

  #required(fence: Fence): string {
    if (fence.kind === 'none') return 'any healthy node'
    if (isPositionFence(fence)) return Position.of(entriesOf(fence)).toString()
    if (this.cluster.logs === undefined) return 'the primary'
    return fence.kind === 'primary' ? 'a look at every peer, since the session is uncertain' : 'what is left of a lost position'
  }
}

/** Where one read stands on its ladder. */
class Walk {
  readonly request: ReadRequest
  index = 0
  reroutes = 0
  wakes = 0
  waitedMs = 0
  #deadlines: Map<Rung, number> | undefined
  excluded: Set<Node> | undefined
  needsPrimary = false
  servedByWait: Rung | undefined
  wait: Outcome['wait']
  lastCause: unknown
  constructor(request: ReadRequest) {
    this.request = request
  }
  /** When the rung's budget is spent; `first` when the read comes by for the first time. */
  deadlineOf(rung: Rung, first: number): number {
    this.#deadlines ??= new Map()
    const deadline = this.#deadlines.get(rung) ?? first
    this.#deadlines.set(rung, deadline)
    return deadline
  }
  exclude(node: Node): void {
    this.excluded ??= new Set()
    this.excluded.add(node)
  }
}
