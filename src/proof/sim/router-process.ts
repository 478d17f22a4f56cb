/** One process of an application: the real database, exchange and cache, which a restart begins anew. */
import type { CacheStore } from '../../core/cache-store.js'
import { ConfigurationError } from '../../core/errors.js'
import { type FencedCache, fencedCache } from '../../core/fenced-cache.js'
import type { Guarantee } from '../../core/outcome.js'
import type { Position } from '../../core/position.js'
import type { TokenStore } from '../../core/token-store.js'
import type { ProcessClock } from '../../engines/simulated/process-clock.js'
import type { ServerCluster } from '../../engines/simulated/server-cluster.js'
import type { ServerProcess } from '../../engines/simulated/server-process.js'
import { type SimulatedDatabase, simulatedDatabase } from '../../engines/simulated/simulated-database.js'
import type { SimulatedNodeSpec } from '../../engines/simulated/simulated-node.js'
import { type HttpDatabase, tokenExchange } from '../../http/exchange.js'
import type { AppSession } from './app-session.js'
import type { Sleep } from './flaky-stores.js'
import type { RouterPlan } from './schedule.js'
import { ladderOf, policyOf } from './strategies.js'

/** An address that leads to any of several servers. */
export const READERS = 'readers'

export interface Shared {
  readonly cluster: ServerCluster<ServerProcess>
  readonly secret: string
  readonly store: TokenStore | undefined
  readonly cacheStore: CacheStore
  /** The servers that it is to know. */
  readonly members: () => readonly string[]
  readonly sleep: Sleep
}

const RESTART_PAUSE_MS = 100
/** Small enough to be reached. */
export const MAX_WAITING = 3
/** To each server. */
export const MAX_CONNECTIONS = 4
const SESSION_CACHE_LIMITS = { maxSessions: 8, maxEntries: 4 }

/** Nothing asks which session is in scope. */
const RUN = { run: <T>(work: () => T) => work() }

/** The server that writes the latest history, in one of its lives. */
export interface Newest {
  readonly id: string
  readonly lineage: string
  readonly life: string
}

/** What a process has while it is up. */
export interface Running {
  readonly db: SimulatedDatabase
  /** By what their sessions ask for. */
  readonly exchanges: Readonly<Record<Guarantee, ReturnType<typeof tokenExchange<AppSession>>>>
  readonly cache: FencedCache
}

export class RouterProcess {
  readonly id: string
  readonly plan: RouterPlan
  readonly clock: ProcessClock
  readonly #shared: Shared
  running: Running | undefined
  mostWaiting = 0

  constructor(id: string, plan: RouterPlan, clock: ProcessClock, shared: Shared) {
    this.id = id
    this.plan = plan
    this.clock = clock
    this.#shared = shared
    shared.cluster.place(id, plan.region)
  }

  /** Resolves when it is up, or when it could not come up because no node could be used: the next attempt is the next restart. */
  async start(): Promise<void> {
    const { cluster, secret, store, cacheStore, members } = this.#shared
    const { strategy, writePolicy, lostWrites, pollIntervalMs, region, balanced, readsHistory } = this.plan
    const db = await simulatedDatabase(cluster, {
      from: this.id,
      clock: this.clock,
      nodes: [...members().map(id => this.#specOf(id)), ...(balanced ? [{ id: READERS, balanced: true }] : [])],
      secret,
      region,
      ...(typeof strategy === 'string' ? { preset: strategy } : { ladder: ladderOf(strategy) }),
      ...(writePolicy && { writePolicy: policyOf(writePolicy) }),
      lostWrites,
      pollIntervalMs,
      readsHistory,
      sessionCache: SESSION_CACHE_LIMITS,
      maxWaiting: MAX_WAITING,
      maxConnections: MAX_CONNECTIONS,
      ...(store && { store }),
      onWarning: () => {},
    })
    const http: HttpDatabase<AppSession> = {
      session: (tokens, options) => Object.assign(db.session(tokens, options), RUN),
    }
    const exchanges = {
      'read-your-writes': tokenExchange(http, { guarantee: 'read-your-writes' }),
      'monotonic-reads': tokenExchange(http, { guarantee: 'monotonic-reads' }),
    }
    this.running = { db, exchanges, cache: fencedCache(cacheStore, { clock: this.clock }) }
  }

  /** A new process takes over; what the old one is doing, it ends. */
  async restart(): Promise<void> {
    const old = this.running
    if (old === undefined) return
    this.running = undefined
    // While no server can be used a process does not come up: whoever watches it starts it again.
    for (;;) {
      try {
        await this.start()
        break
      } catch (error) {
        if (!(error instanceof ConfigurationError)) throw error
        await this.#shared.sleep(RESTART_PAUSE_MS)
      }
    }
    await old.db.close()
    // Who joined or left while it came up, it has not heard of. What cannot be done now, the next change does.
    await this.conform().catch(error => {
      if (!(error instanceof ConfigurationError)) throw error
    })
  }

  /** Replicas that it may use, each in its life and history, and those of them that lack `needed`; `undefined` when nobody can be pinned. */
  replicas(needed: Position): { readonly who: string; readonly lacking: readonly string[] } | undefined {
    const { primary, lineage, nodes } = this.running?.db.core.cluster ?? {}
    const [entry, ...others] = needed.entries
    if (!primary?.usable || entry === undefined || others.length > 0 || entry.lineage !== lineage) return undefined
    // A region of its own narrows whom the pin looks at.
    if (this.plan.region !== undefined) return undefined
    const usable = nodes!.filter(({ usable, role, balanced }) => usable && role === 'replica' && !balanced)
    const lacking = usable.filter(node => !node.hasApplied(entry.lineage, entry.offset))
    return {
      who: usable.map(({ id, incarnation, lineage }) => `${id} ${incarnation} ${lineage}`).join(),
      lacking: lacking.map(({ id }) => id),
    }
  }

  /** Whether it has heard that this server writes that history. */
  knows({ id, lineage }: Newest): boolean {
    return this.running?.db.core.cluster.nodes.some(node => node.id === id && node.lineage === lineage) === true
  }

  /** Whether it takes a server for one that answers, and has not asked it since `since`, on its own clock. */
  overlooks({ id }: Newest, since: number): boolean {
    const node = this.running?.db.core.cluster.nodes.find(node => node.id === id)
    return node?.reachable === true && node.observedAt < since
  }

  /** Who tells it what there is: the primary, as it sees it; of a leaderless cluster everybody that it knows of. */
  get authorities(): readonly string[] {
    const { logs, primary, nodes } = this.running?.db.core.cluster ?? {}
    const asked = logs === undefined ? [primary] : nodes!
    return asked.flatMap(node => node?.id ?? [])
  }

  /** Notes how far things with a bound have gone. */
  measure(): void {
    const waiting = this.running?.db.core.executor.context.router.waitingRoom.size ?? 0
    this.mostWaiting = Math.max(this.mostWaiting, waiting)
  }

  /** What should have ended by now and has not, in words. */
  get leftovers(): readonly string[] {
    const nodes = this.running?.db.core.cluster.nodes ?? []
    const waiting = this.running?.db.core.executor.context.router.waitingRoom.size ?? 0
    return [
      ...nodes.filter(({ inFlight }) => inFlight !== 0).map(({ id, inFlight }) => `${inFlight} statements on ${id}`),
      ...(waiting === 0 ? [] : [`${waiting} reads that wait`]),
    ]
  }

  /**
   * A process that was coming up when the server left has not been told, and knows it still until {@link conform}: it then need not be told
   * that the server is back. A refusal would count, and leave the server out for good.
   */
  async addNode(id: string): Promise<void> {
    const { running } = this
    if (running?.db.core.cluster.nodes.some(node => node.id === id)) return
    await running?.db.addNode(this.#specOf(id))
  }

  async removeNode(id: string): Promise<void> {
    await this.running?.db.removeNode(id)
  }

  /** Knows again what it is to know, after a change that another router has refused. */
  async conform(): Promise<void> {
    const { running } = this
    const wanted = this.#shared.members()
    const known = running?.db.status().map(({ node }) => node) ?? wanted
    for (const id of wanted) if (!known.includes(id)) await running?.db.addNode(this.#specOf(id))
    for (const id of known) if (!wanted.includes(id) && id !== READERS) await running?.db.removeNode(id)
  }

  #specOf(id: string): SimulatedNodeSpec {
    return { id, region: this.#shared.cluster.server(id).region }
  }

  async stop(): Promise<void> {
    const last = this.running
    this.running = undefined
    await last?.db.close()
  }
}
