/**
 * The ladder: the ordered rungs that a read tries. Each rung looks at the situation and serves (names a node), waits,
 * refuses, or passes to the next. Rungs are plain values and know nothing of each other, so they compose in any order,
 * and anybody can write one. Deciding is a pure function of the situation; what it decides is done elsewhere.
 */
import type { Cluster } from './cluster.js'
import { ConfigurationError, TidemarkError } from './errors.js'
import type { Fence } from './fence.js'
import type { Node } from './node.js'

/** Beyond this a timer would fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1

/** What a rung may look at. */
export interface Situation {
  readonly cluster: Cluster
  readonly fence: Fence
  /** On the router's clock. */
  readonly now: number
  /** Nodes that failed this read already. */
  readonly excluded: ReadonlySet<Node> | undefined
  /** Reads that a `primary` rung has in flight on the primary. */
  readonly fallbacksInFlight: number
  /** Changes from read to read; spreads reads over nodes that are equal otherwise. */
  readonly turn: number
}

/** Wait until some node has applied the fence, but no longer than this. */
export interface Wait {
  readonly kind: 'wait'
  readonly budgetMs: number
}

/** End the read with this error. */
export interface Refusal {
  readonly kind: 'refusal'
  readonly error: TidemarkError
}

/** `undefined` passes to the next rung. */
export type Step = Node | Wait | Refusal | undefined

export interface Rung {
  /** Appears in outcomes and metrics. */
  readonly name: string
  /** Whether a node named by this rung satisfies the fence; when false the outcome says `eventual`. */
  readonly fenced: boolean
  /** Whether reads that this rung serves count against the bound on fallbacks. */
  readonly fallback?: boolean
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

/**
 * Serves from a replica that has applied the fence: the one with the fewest requests in flight (weights honoured), then
 * the nearest (own region first, then measured latency), then in turn.
 */
export function replica(): Rung {
  return {
    name: 'replica',
    fenced: true,
    step: situation => pickReplica(situation, situation.fence),
  }
}

export interface WaitOptions {
  /** At most this long. Default 50. */
  readonly budgetMs?: number
}

/**
 * Waits for the first replica that applies the fence. Skipped at once when no usable replica can be expected to make it
 * within the budget, judged from its measured delay and replay rate.
 */
export function wait(options: WaitOptions = {}): Rung {
  const budgetMs = Math.min(MAX_TIMER_MS, atLeast(0, options.budgetMs ?? 50, 'wait({ budgetMs })'))
  const step: Wait = { kind: 'wait', budgetMs }
  return {
    name: 'wait',
    fenced: true,
    step({ cluster, fence, excluded, now }) {
      if (fence.kind !== 'at') return undefined
      for (const node of cluster.nodes) {
        if (!isReadable(node, excluded)) continue
        if (cluster.expectedWaitMs(node, fence.lineage, fence.offset, now) <= budgetMs) return step
      }
      return undefined
    },
  }
}

export interface PrimaryOptions {
  /** At most this many fallback reads of this router on the primary at once; beyond it the next rung is tried. Default 64. */
  readonly maxInFlight?: number
}

/** Serves from the primary, which has everything; bounded, so that lagging replicas cannot drown it. */
export function primary(options: PrimaryOptions = {}): Rung {
  const maxInFlight = atLeast(1, options.maxInFlight ?? 64, 'primary({ maxInFlight })')
  return {
    name: 'primary',
    fenced: true,
    fallback: true,
    step({ cluster, excluded, fallbacksInFlight }) {
      const node = cluster.primary
      if (
        node === undefined ||
        !node.usable ||
        node.role !== 'primary' ||
        excluded?.has(node) ||
        fallbacksInFlight >= maxInFlight
      )
        return undefined
      return node
    },
  }
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
 * usually a few milliseconds behind; else the primary, within a bound.
 */
export const DEFAULT_LADDER: Ladder = Object.freeze([replica(), wait(), primary()])

function isReadable(node: Node, excluded: ReadonlySet<Node> | undefined): boolean {
  return node.usable && node.role === 'replica' && !excluded?.has(node)
}

function pickReplica({ cluster, excluded, turn }: Situation, fence: Fence): Node | undefined {
  if (fence.kind === 'primary' || fence.kind === 'possibly-lost') return undefined
  const { nodes } = cluster
  let best: Node | undefined
  let unproven: Node | undefined
  // Beginning at another node each time spreads reads over equal ones.
  for (let i = 0; i < nodes.length; i++) {
    const node = nodes[(i + turn) % nodes.length]!
    if (!isReadable(node, excluded)) continue
    if (node.balanced) {
      // Nothing is known beforehand of whoever answers behind this address: the engine checks on the read's own connection.
      unproven ??= node
      continue
    }
    if (fence.kind === 'at' && !node.hasApplied(fence.lineage, fence.offset)) continue
    if (best === undefined || isBetter(node, best, cluster.region)) best = node
  }
  return best ?? unproven
}

function isBetter(a: Node, b: Node, region: string | undefined): boolean {
  const loadA = (a.inFlight + 1) / a.weight
  const loadB = (b.inFlight + 1) / b.weight
  if (loadA !== loadB) return loadA < loadB
  if (region !== undefined && (a.region === region) !== (b.region === region)) return a.region === region
  // Round trips within a quarter of each other are the same distance; anything finer is noise and would starve a node.
  return a.latencyMs < b.latencyMs * 0.75 - 0.25
}

function atLeast(least: number, value: number, what: string): number {
  if (!Number.isFinite(value) || value < least) {
    throw new ConfigurationError(`${what} must be a number of at least ${least}, not ${value}`)
  }
  return value
}
