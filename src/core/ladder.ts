/**
 * The ladder: the ordered rungs that a read tries. Each rung looks at the situation and serves (names a node), waits,
 * refuses, or passes to the next. Rungs are plain values and know nothing of each other, so they compose in any order,
 * and anybody can write one. Deciding is a pure function of the situation; what it decides is done elsewhere.
 */
import { MAX_TIMER_MS } from './check-number.js'
import type { Cluster } from './cluster.js'
import { isLater } from './engine.js'
import { ConfigurationError, TidemarkError } from './errors.js'
import {
  entriesOf,
  type Fence,
  fenceAt,
  isLost,
  isPositionFence,
  isPresent,
  opens,
  type PositionFence,
  withoutLost,
} from './fence.js'
import type { Node, QuickKind } from './node.js'
import type { Position } from './position.js'
import type { CacheEntry } from './session-cache.js'
import { shown } from './shown.js'
import { NEAR_REPLICA, type Target } from './target.js'

/** What a rung may look at. */
export interface Situation {
  readonly cluster: Cluster
  readonly fence: Fence
  /** On the router's clock. */
  readonly now: number
  /** Nodes that failed this read already. */
  readonly excluded: ReadonlySet<Node> | undefined
  /** Reads that ladders have in flight on the primary. */
  readonly fallbacksInFlight: number
  /** Of this router's last thousand or so reads, the share that pins have sent to the primary. */
  readonly pinShare: number
  /** At how many nodes every acknowledged write is, by the database's write policy. */
  readonly writeQuorum: number
  /** The author's own value for what this read asks for, when it is new enough for the fence. */
  readonly cached: CacheEntry | undefined
  /** Of which kind the read is when it may be sent together with others. */
  readonly quick?: QuickKind | undefined
  /** Changes from read to read; spreads reads over nodes that are equal otherwise. */
  readonly turn: number
}

/** Wait until some node has applied the fence, but no longer than this. */
export interface Wait {
  readonly kind: 'wait'
  readonly budgetMs: number
  /** Who has to have applied it. Default: some replica. */
  readonly target?: Target
}

/** Ask `size` of these nodes where they are, in this order as far as they answer, and read from the freshest. */
export interface Gather {
  readonly kind: 'gather'
  readonly candidates: readonly Node[]
  readonly size: number
  readonly timeoutMs: number
  /** How many of the answers, at least, have any one acknowledged write. See `freshest.ts`. */
  readonly sharedBy: number
}

/** Waiting could not succeed within its budget: passes to the next rung, at once. */
export interface Vain {
  readonly kind: 'vain'
}

const VAIN: Vain = Object.freeze({ kind: 'vain' })

/** Serve the author's own value from the session cache. */
export interface Cached {
  readonly kind: 'cached'
  readonly entry: CacheEntry
}

/** End the read with this error. */
export interface Refusal {
  readonly kind: 'refusal'
  readonly error: TidemarkError
}

/** `undefined` passes to the next rung. */
export type Step = Node | Wait | Vain | Gather | Cached | Refusal | undefined

export interface Rung {
  /** Appears in outcomes and metrics. */
  readonly name: string
  /** Whether a node named by this rung satisfies the fence; when false the outcome says `eventual`. */
  readonly fenced: boolean
  /** It names nothing but the primary. */
  readonly fallback?: boolean
  /** Its reads on the primary count as pinned. */
  readonly pins?: boolean
  step(situation: Situation): Step
}

export type Ladder = readonly Rung[]

/** The read could be answered later: nothing that the ladder allows can serve it now. */
export class NotReadyError extends TidemarkError {
  declare readonly code: 'TIDEMARK_NOT_READY'
  /** When to try again; suits an HTTP `Retry-After`. */
  readonly retryAfterMs: number
  constructor(retryAfterMs: number) {
    super('TIDEMARK_NOT_READY', `no replica has caught up with this session's writes yet; try again in ${retryAfterMs} ms`)
    this.retryAfterMs = retryAfterMs
  }
}

export interface PlaceOptions {
  /** `own`: only replicas of the router's own region; passes when the router has none. Default: any. */
  readonly region?: 'own' | 'any'
}

/**
 * Serves from a replica that has applied the fence: of the own region, if one there has; then, for a few reads of one kind that come
 * at once, the same; then the one with the fewest requests in flight (weights honoured), then the nearest by measured latency,
 * then in turn.
 */
export function replica(options: PlaceOptions = {}): Rung {
  const own = isOwn(options, 'replica')
  return {
    name: 'replica',
    fenced: true,
    step(situation) {
      if (own && situation.cluster.region === undefined) return undefined
      return pickReplica(situation, situation.fence, own ? situation.cluster.region : undefined)
    },
  }
}

export interface WaitOptions extends PlaceOptions {
  /** At most this long. Default 50. */
  readonly budgetMs?: number
}

/**
 * Waits for the first replica that applies the fence. Skipped at once when no usable replica can be expected to make it
 * within the budget, judged from its measured delay and replay rate.
 *
 * With `region: 'own'`, waits for a replica of the router's region, and only for as long as crossing to a region whose replica
 * has applied the fence would take: the difference of their measured round trips.
 */
export function wait(options: WaitOptions = {}): Rung {
  const budgetMs = Math.min(MAX_TIMER_MS, atLeast(0, options.budgetMs ?? 50, 'wait({ budgetMs })'))
  const own = isOwn(options, 'wait')
  return {
    name: 'wait',
    fenced: true,
    step({ cluster, fence, excluded, now }) {
      if (!isPositionFence(fence) || (own && cluster.region === undefined)) return undefined
      let inVain: Vain | undefined
      for (const node of cluster.nodes) {
        if (!isReadable(node, excluded) || (own && node.region !== cluster.region)) continue
        const worthMs = own ? Math.min(budgetMs, crossingMs(cluster, node, fence, excluded)) : budgetMs
        inVain = VAIN
        if (expectedWaitMs(cluster, node, fence, now) > worthMs) continue
        return own ? { kind: 'wait', budgetMs: worthMs, target: NEAR_REPLICA } : { kind: 'wait', budgetMs }
      }
      return inVain
    },
  }
}

/** A guess; of several logs, the one that takes longest. */
function expectedWaitMs(cluster: Cluster, node: Node, fence: PositionFence, now: number): number {
  if (fence.kind === 'at') return cluster.expectedWaitMs(node, fence.lineage, fence.offset, now)
  return Math.max(...entriesOf(fence).map(({ lineage, offset }) => cluster.expectedWaitMs(node, lineage, offset, now)))
}

/** How much longer a read takes at the nearest node elsewhere that can serve it now; Infinity when there is none. */
function crossingMs(cluster: Cluster, near: Node, fence: PositionFence, excluded: ReadonlySet<Node> | undefined): number {
  let least = Number.POSITIVE_INFINITY
  for (const node of cluster.nodes) {
    if (!node.usable || excluded?.has(node)) continue
    if (node === cluster.primary || opens(fence, node)) {
      least = Math.min(least, Math.max(0, node.latencyMs - near.latencyMs))
    }
  }
  return least
}

export interface PrimaryOptions {
  /** At most this many fallback reads of this router on the primary at once; beyond it the next rung is tried. Default 64. */
  readonly maxInFlight?: number
}

/**
 * Serves from the primary, which has everything; bounded, so that lagging replicas cannot drown it.
 *
 * Nobody has everything in a leaderless cluster. What comes nearest is the peer that took the newest of the session's writes: it
 * serves if it is known to have the others, too; else any peer that is; else the rung passes. (That peer may have got the rest
 * since it was last heard of. But then it is a matter of time, and that is what `wait` is for.)
 */
export function primary(options: PrimaryOptions = {}): Rung {
  const maxInFlight = atLeast(1, options.maxInFlight ?? 64, 'primary({ maxInFlight })')
  return {
    name: 'primary',
    fenced: true,
    fallback: true,
    step: situation => (situation.fallbacksInFlight < maxInFlight ? usablePrimary(situation) : undefined),
  }
}

export interface PinnedOptions {
  /** `node`: the node that took the write. `region`: whichever node of its region has applied the write. Default `node`. */
  readonly to?: 'node' | 'region'
  /** Of this router's reads, pins send at most this share to the primary; beyond it the fence takes over. Default 0.5. */
  readonly maxShare?: number
  /** At most this many reads of this router on the primary at once. Default 64. */
  readonly maxInFlight?: number
}

/**
 * Sticky routing: keeps a session's reads on the node (or region) that took its write, exactly until every replica that it
 * could otherwise use has applied it; never for a fixed time.
 *
 * The pin is the position that the token carries anyway: its history says which node took the write, the one that writes
 * that history. So a new tab, device or process honours it, and after a promotion that preserved the write it points to the
 * new primary. "Every replica", not the first: the read after the next may go to any of them.
 */
export function pinned(options: PinnedOptions = {}): Rung {
  const { to = 'node' } = options
  if (to !== 'node' && to !== 'region')
    throw new ConfigurationError(`pinned({ to }) must be 'node' or 'region', not ${shown(to)}`)
  const maxShare = atLeast(0, options.maxShare ?? 0.5, 'pinned({ maxShare })')
  const maxInFlight = atLeast(1, options.maxInFlight ?? 64, 'pinned({ maxInFlight })')
  return {
    name: 'pinned',
    fenced: true,
    pins: true,
    ...(to === 'node' && { fallback: true }),
    step(situation) {
      const { fence } = situation
      if (!isPositionFence(fence) || everybodyHas(situation, fence)) return undefined
      const region = (situation.cluster.logs === undefined ? situation.cluster.primary : originOf(situation))?.region
      const near = to === 'region' && region !== undefined ? pickReplica(situation, fence, region) : undefined
      if (near !== undefined && !near.balanced) return near
      if (situation.pinShare >= maxShare || situation.fallbacksInFlight >= maxInFlight) return undefined
      return usablePrimary(situation)
    },
  }
}

/** Whether all the replicas that would otherwise serve have applied the fence: those of the own region, if there are any. */
function everybodyHas({ cluster, excluded }: Situation, fence: PositionFence): boolean {
  const replicas = cluster.nodes.filter(node => isReadable(node, excluded) && !node.balanced)
  const near = cluster.region === undefined ? [] : replicas.filter(node => node.region === cluster.region)
  return (near.length > 0 ? near : replicas).every(node => opens(fence, node))
}

export interface SessionCacheOptions {
  /** A value older than this is loaded anew. Default 10 000. */
  readonly ttlMs?: number
}

/**
 * Serves the author's own value (`session.put`, `{ cache: key }`) to that author's sessions, until a replica that would
 * serve the read has applied the write, or until its time is up.
 */
export function sessionCache(options: SessionCacheOptions = {}): Rung {
  const ttlMs = atLeast(1, options.ttlMs ?? 10_000, 'sessionCache({ ttlMs })')
  return {
    name: 'sessionCache',
    fenced: true,
    step(situation) {
      const { cached, cluster, fence, now } = situation
      if (cached === undefined || now - cached.storedAt >= ttlMs) return undefined
      // In doubt only the primary answers. And a value of a history that the cluster has left may show a write that a
      // failover cut off: as long as it was served, the session would go on with what is not there any more.
      if (fence.kind === 'primary' || fence.kind === 'possibly-lost' || !isPreserved(cached.position, cluster)) return undefined
      const own = cached.position.isZero ? fence : fenceAt(cached.position)
      return pickReplica(situation, own)?.balanced === false ? undefined : { kind: 'cached', entry: cached }
    },
  }
}

function isPreserved(position: Position, cluster: Cluster): boolean {
  if (cluster.logs !== undefined) return !position.entries.some(entry => isLost(entry, cluster))
  const isPart = (lineage: string, offset: bigint) =>
    isPresent(lineage, cluster) || cluster.verdict(lineage, offset) === 'preserved'
  return position.entries.every(({ lineage, offset }) => isPart(lineage, offset))
}

export interface StaleOptions {
  /** Serve only from a replica whose staleness window is at most this. */
  readonly maxLagMs: number
}

/** Opt-in: serves from the freshest replica although it may lack the session's writes. The outcome says `eventual`. */
export function stale(options: StaleOptions): Rung {
  const maxLagMs = atLeast(0, options.maxLagMs, 'stale({ maxLagMs })')
  return {
    name: 'stale',
    fenced: false,
    step({ cluster, excluded, now }) {
      let best: Node | undefined
      let bestMs = maxLagMs
      for (const node of cluster.nodes) {
        if (!isReadable(node, excluded)) continue
        const staleMs = cluster.stalenessMs(node, now)
        if (staleMs !== undefined && staleMs <= bestMs) {
          best = node
          bestMs = staleMs
        }
      }
      return best
    },
  }
}

export interface NotReadyOptions {
  /** Told to the caller. Default 1 000. */
  readonly retryAfterMs?: number
}

/** Opt-in: ends the read with {@link NotReadyError} instead of the general error at the ladder's end. */
export function notReady(options: NotReadyOptions = {}): Rung {
  const retryAfterMs = atLeast(0, options.retryAfterMs ?? 1_000, 'notReady({ retryAfterMs })')
  return { name: 'notReady', fenced: true, step: () => ({ kind: 'refusal', error: new NotReadyError(retryAfterMs) }) }
}

/**
 * The two-level strategy: a replica that has the session's writes; else wait for one, briefly, since replication is
 * usually a few milliseconds behind; else the primary, within a bound. A router with a region looks and waits there first.
 */
export const DEFAULT_LADDER: Ladder = Object.freeze([
  replica({ region: 'own' }),
  wait({ region: 'own' }),
  replica(),
  wait(),
  primary(),
])

function isReadable(node: Node, excluded: ReadonlySet<Node> | undefined): boolean {
  return node.usable && node.follows && !excluded?.has(node)
}

/** The primary, unless the fence names a later history: then it is not the primary any more (rule 8). */
function usablePrimary(situation: Situation): Node | undefined {
  const { cluster, excluded, fence } = situation
  if (cluster.logs !== undefined) return usablePeer(situation)
  const node = cluster.primary
  if (node === undefined || !node.usable || node.role !== 'primary' || excluded?.has(node)) return undefined
  return fence.kind === 'at' && isLater(fence.lineage, cluster.lineage) ? undefined : node
}

/** In a leaderless cluster, the peer that took the newest write of those asked for. */
function originOf({ cluster, fence }: Situation): Node | undefined {
  if (!isPositionFence(fence)) return undefined
  // Stamps of different logs are compared only to prefer one peer to another.
  const newest = entriesOf(fence).reduce((newest, entry) => (entry.offset > newest.offset ? entry : newest))
  return cluster.logs?.writerOf(newest.lineage)
}

/** A peer that is known to have all that is asked for, and that is not lost: the newest write's own, if it has. */
function usablePeer(situation: Situation): Node | undefined {
  const { fence, excluded } = situation
  const asked = withoutLost(fence)
  const origin = originOf({ ...situation, fence: asked })
  if (origin !== undefined && isReadable(origin, excluded) && opens(asked, origin)) return origin
  const other = pickReplica(situation, asked)
  return other?.balanced ? undefined : other
}

function pickReplica({ cluster, excluded, quick, turn }: Situation, fence: Fence, region?: string): Node | undefined {
  if (fence.kind === 'primary' || fence.kind === 'possibly-lost') return undefined
  const { nodes } = cluster
  let best: Node | undefined
  let unproven: Node | undefined
  // Beginning at another node each time spreads reads over equal ones.
  for (let i = 0; i < nodes.length; i++) {
    const node = nodes[(i + turn) % nodes.length]!
    if (!isReadable(node, excluded) || (region !== undefined && node.region !== region)) continue
    if (node.balanced) {
      // Nothing is known beforehand of whoever answers behind this address: the engine checks on the read's own connection.
      unproven ??= node
      continue
    }
    if (!opens(fence, node)) continue
    if (best === undefined || isBetter(node, best, cluster.region, quick)) best = node
  }
  return best ?? unproven
}

/**
 * Whether `a` is to be preferred to `b`, which can serve as well: of the own region, about to be sent others of its kind anyway, less
 * busy, or nearer.
 */
export function isBetter(a: Node, b: Node, region: string | undefined, quick?: QuickKind): boolean {
  if (region !== undefined && (a.region === region) !== (b.region === region)) return a.region === region
  if (quick !== undefined && (a.gathers === quick) !== (b.gathers === quick)) return a.gathers === quick
  const loadA = (a.inFlight + 1) / a.weight
  const loadB = (b.inFlight + 1) / b.weight
  if (loadA !== loadB) return loadA < loadB
  // Round trips within a quarter of each other are the same distance; anything finer is noise and would starve a node.
  return a.latencyMs < b.latencyMs * 0.75 - 0.25
}

function isOwn({ region = 'any' }: PlaceOptions, what: string): boolean {
  if (region !== 'own' && region !== 'any') {
    throw new ConfigurationError(`${what}({ region }) must be 'own' or 'any', not ${shown(region)}`)
  }
  return region === 'own'
}

function atLeast(least: number, value: number, what: string): number {
  if (!Number.isFinite(value) || value < least) {
    throw new ConfigurationError(`${what} must be a number of at least ${least}, not ${shown(value)}`)
  }
  return value
}
