/**
 * Quorums (Gifford, "Weighted Voting for Replicated Data", 1979): a write is acknowledged when w of n nodes have applied it,
 * a read asks r of them where they are and reads from the freshest. When w + r > n, every r nodes include one that has every
 * acknowledged write; the log is one, so the freshest of them has them all.
 *
 * **While n changes.** What counts is where the writes are that were acknowledged *before*. A node that leaves takes at most
 * one copy of each along: w - 1 of n - 1 nodes or more have it, and (w - 1) + r > n - 1 must hold for the new r. A node that
 * joins has none: w + r > n + 1 must hold. Otherwise the change is refused. Majorities pass both, one node at a time: with
 * w = floor(n/2) + 1 of n, and r = floor((n+1)/2) + 1 of n + 1, w + r > n + 1; likewise downwards. So old and new routers
 * may run side by side as long as one change is finished everywhere before the next begins.
 *
 * **With several logs** no one of those nodes need have all that the others have; `freshest.ts` says which will do.
 *
 * **What the quorum does not cover**: a node that loses what it had applied (rebuilt from an older copy). So the freshest
 * must have applied the session's fence as well; if not, the next rung is tried.
 */
import type { Cluster } from './cluster.js'
import { ConfigurationError } from './errors.js'
import type { Ladder, Rung, Step } from './ladder.js'
import type { Node } from './node.js'
import { hasIt } from './target.js'
import { type AcknowledgeOptions, acknowledgement, type WritePolicy } from './write-policy.js'

export interface QuorumOptions extends AcknowledgeOptions {
  /** Take w + r ≤ n: reads of the quorum are then `eventual`, and say so. Default false. */
  readonly allowPartial?: boolean
  /**
   * Write: COMMIT itself waits on the server (`synchronous_commit = remote_apply` for this transaction), for as many standbys
   * as the server's `synchronous_standby_names` says, so that an acknowledged write survives a failover. Whether w nodes
   * have it is still Tidemark's own judgement. A warning tells when the server waits for fewer. Default false.
   */
  readonly remoteApply?: boolean
}

export interface Quorum extends Rung, WritePolicy {
  readonly allowPartial: boolean
  sizeOf(nodeCount: number): number
}

/**
 * `size` nodes, the primary included; default the majority of all. As a rung, it reads from the freshest of that many; as a
 * write policy, a write is acknowledged when that many have applied it. `timeoutMs` bounds either.
 */
export function quorum(size: number | 'majority' = 'majority', options: QuorumOptions = {}): Quorum {
  if (size !== 'majority' && !(Number.isInteger(size) && size >= 1)) {
    throw new ConfigurationError(`quorum(size) must be a whole number of at least 1, or 'majority', not ${size}`)
  }
  const { timeoutMs, onTimeout } = acknowledgement(options, 'quorum')
  const { allowPartial = false, remoteApply = false } = options
  const sizeOf = (nodeCount: number) => (size === 'majority' ? Math.floor(nodeCount / 2) + 1 : size)
  const name = `quorum(${size})`
  return {
    name,
    fenced: !allowPartial,
    allowPartial,
    remoteApply,
    timeoutMs,
    onTimeout,
    sizeOf,
    acknowledgedBy: sizeOf,
    target: {
      key: name,
      reached(cluster, lineage, offset) {
        const having = cluster.nodes.filter(node => hasIt(node, cluster, lineage, offset))
        return having.length >= sizeOf(cluster.nodes.length)
      },
    },
    check: cluster => checkSize(sizeOf(cluster.nodes.length), cluster),
    step({ cluster, fence, excluded, writeQuorum, turn }): Step {
      if (fence.kind === 'primary' || fence.kind === 'possibly-lost') return undefined
      const nodeCount = cluster.nodes.length
      const readSize = sizeOf(nodeCount)
      // Also where it was not checked at the start: a ladder of one query, or a node that has joined since.
      if (!allowPartial && writeQuorum + readSize <= nodeCount) {
        return { kind: 'refusal', error: noIntersection(writeQuorum, readSize, nodeCount) }
      }
      const candidates = inOrder(cluster, excluded, turn)
      if (candidates.length < readSize) return undefined
      const sharedBy = Math.max(1, writeQuorum + readSize - nodeCount)
      return { kind: 'gather', candidates, size: readSize, timeoutMs, sharedBy }
    },
  }
}

/**
 * Throws {@link ConfigurationError} when some quorum of the ladder need not meet what writes are acknowledged by.
 * `acknowledged`: at how many of the cluster's nodes the writes are that were acknowledged before a node joined or left.
 */
export function checkQuorums(
  ladder: Ladder,
  policy: WritePolicy | undefined,
  cluster: Pick<Cluster, 'nodes'>,
  acknowledged?: number,
): void {
  const nodeCount = cluster.nodes.length
  policy?.check?.(cluster)
  const writeQuorum = Math.min(policy?.acknowledgedBy(nodeCount) ?? 1, acknowledged ?? Number.POSITIVE_INFINITY)
  for (const rung of ladder) {
    if (!isQuorum(rung)) continue
    const readSize = rung.sizeOf(nodeCount)
    checkSize(readSize, cluster)
    if (!rung.allowPartial && writeQuorum + readSize <= nodeCount) throw noIntersection(writeQuorum, readSize, nodeCount)
  }
}

function isQuorum(rung: Rung): rung is Quorum {
  return 'sizeOf' in rung
}

function checkSize(size: number, cluster: Pick<Cluster, 'nodes'>): void {
  const hidden = cluster.nodes.find(node => node.balanced)
  if (hidden !== undefined) {
    throw new ConfigurationError(
      `a quorum counts nodes, and the address of ${hidden.id} hides an unknown number of them. List the servers by themselves`,
    )
  }
  if (size > cluster.nodes.length) {
    throw new ConfigurationError(`a quorum of ${size} can never be reached: there are ${cluster.nodes.length} nodes`)
  }
}

function noIntersection(w: number, r: number, n: number): ConfigurationError {
  return new ConfigurationError(
    `w + r ≤ n: writes are acknowledged by ${w} and reads ask ${r} of ${n} nodes, and ${w} + ${r} is not more than ${n}, so a read may miss every node that has the write. ` +
      'Raise one of them, or say quorum(…, { allowPartial: true }) if it is meant.',
  )
}

/** Replicas first, to spare the primary; near ones first; in turn among equals; those that did not answer lately last. */
function inOrder(cluster: Cluster, excluded: ReadonlySet<Node> | undefined, turn: number): Node[] {
  const nodes = cluster.nodes.filter(node => !excluded?.has(node) && (node.usable || !node.reachable))
  const turned = [...nodes.slice(turn % (nodes.length || 1)), ...nodes.slice(0, turn % (nodes.length || 1))]
  const rank = (node: Node) =>
    (node.usable ? 0 : 4) + (node.role === 'primary' ? 2 : 0) + (node.region === cluster.region ? 0 : 1)
  return turned.sort((a, b) => rank(a) - rank(b))
}
