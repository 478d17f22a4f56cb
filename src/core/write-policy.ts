/**
 * When a write counts as done. Without a policy it does when the primary has committed it; with one, its acknowledgement
 * is held until others have applied it too. Whatever the policy, the session's token carries the write's position.
 */
import type { Cluster } from './cluster.js'
import { ConfigurationError, TidemarkError } from './errors.js'
import { ANOTHER_NODE, hasIt, type Target } from './target.js'

export interface WritePolicy {
  /** Appears in events and errors. */
  readonly name: string
  /** Who has to have applied the write. */
  readonly target: Target
  readonly timeoutMs: number
  readonly onTimeout: 'error' | 'return'
  /** At how many of the cluster's nodes, the primary included, every write is that it acknowledges. */
  acknowledgedBy(nodeCount: number): number
  /** Whether COMMIT itself waits on the server (`synchronous_commit = remote_apply`). */
  readonly remoteApply?: boolean
  /** Throws {@link ConfigurationError} when it cannot work on this cluster. */
  check?(cluster: Pick<Cluster, 'nodes'>): void
}

export interface AcknowledgeOptions {
  /** The acknowledgement is held for at most this long. Default 1 000. */
  readonly timeoutMs?: number
  /**
   * What then: `error` rejects with {@link NotAppliedError}, which says that the write *is* committed; `return` returns as
   * if there were no policy, with the token marked by the write's position, and `session.lastWrite` tells. Default `error`.
   */
  readonly onTimeout?: 'error' | 'return'
}

/** The write is committed, and those that the policy waits for have not applied it in time. Do not repeat the write. */
export class NotAppliedError extends TidemarkError {
  declare readonly code: 'TIDEMARK_NOT_APPLIED'
  readonly committed = true
  readonly policy: string
  readonly position: string
  readonly waitedMs: number
  constructor(policy: string, position: string, waitedMs: number) {
    super(
      'TIDEMARK_NOT_APPLIED',
      `the write is committed, at ${position}, but ${policy} was not reached within ${Math.round(waitedMs)} ms. Do not repeat it; ` +
        'the session goes on to see it. Raise timeoutMs, or choose onTimeout: "return".',
    )
    this.policy = policy
    this.position = position
    this.waitedMs = waitedMs
  }
}

export const ACKNOWLEDGE_DEFAULTS = Object.freeze({ timeoutMs: 1_000, onTimeout: 'error' as const })

/**
 * Holds the acknowledgement of a write until its destination has applied it: a node by its name, all replicas of a region,
 * `any` replica, or `all` of them. A node that cannot be reached has not applied anything: with `all`, writes then end
 * in the time-out, as the name says.
 */
export function appliedOn(where: string, options: AcknowledgeOptions = {}): WritePolicy {
  const { timeoutMs, onTimeout } = acknowledgement(options, 'appliedOn')
  const name = `appliedOn(${where})`
  const acknowledgedBy = (nodeCount: number) => {
    if (where === 'all') return nodeCount
    // A node by its name, or all that a region has, may be the primary, now or after a failover: nobody else need have it.
    return where === 'any' ? Math.min(2, nodeCount) : 1
  }
  return { name, target: targetOf(where), timeoutMs, onTimeout, acknowledgedBy, check: cluster => checkPlace(where, cluster) }
}

/** @internal */
export function acknowledgement(options: AcknowledgeOptions, what: string): Required<AcknowledgeOptions> {
  const { timeoutMs, onTimeout } = { ...ACKNOWLEDGE_DEFAULTS, ...options }
  if (!(Number.isFinite(timeoutMs) && timeoutMs > 0 && timeoutMs < 2 ** 31)) {
    throw new ConfigurationError(`${what}({ timeoutMs }) must be a number of milliseconds greater than 0, not ${timeoutMs}`)
  }
  if (onTimeout !== 'error' && onTimeout !== 'return') {
    throw new ConfigurationError(`${what}({ onTimeout }) must be 'error' or 'return', not ${JSON.stringify(onTimeout)}`)
  }
  return { timeoutMs, onTimeout }
}

function targetOf(where: string): Target {
  if (where === 'any') return ANOTHER_NODE
  return {
    key: `on ${where}`,
    reached(cluster, lineage, offset) {
      const nodes = placed(where, cluster)
      return nodes.length > 0 && nodes.every(node => hasIt(node, cluster, lineage, offset))
    },
  }
}

function placed(where: string, cluster: Pick<Cluster, 'nodes'>) {
  if (where === 'all') return cluster.nodes
  const named = cluster.nodes.filter(node => node.id === where)
  return named.length > 0 ? named : cluster.nodes.filter(node => node.region === where)
}

function checkPlace(where: string, cluster: Pick<Cluster, 'nodes'>): void {
  if (where === 'any') return
  const nodes = placed(where, cluster)
  if (nodes.length === 0) {
    const regions = [...new Set(cluster.nodes.flatMap(({ region }) => region ?? []))]
    throw new ConfigurationError(
      `appliedOn("${where}") names neither a node (${cluster.nodes.map(node => node.id).join(', ')}) nor a region (${regions.join(', ') || 'none is configured'}), nor any, nor all`,
    )
  }
  const hidden = nodes.find(node => node.balanced)
  if (hidden !== undefined) {
    throw new ConfigurationError(
      `appliedOn("${where}") waits for ${hidden.id}, whose address hides several servers: nothing tells when all of them have applied a write`,
    )
  }
}

/** A write counts as done when the primary has committed it: what holds without a policy, to be said where there is one. */
export const COMMITTED: WritePolicy = Object.freeze({
  name: 'committed',
  target: { key: 'committed', reached: () => true },
  ...ACKNOWLEDGE_DEFAULTS,
  acknowledgedBy: () => 1,
})
