/** What somebody waits for: which nodes have to have applied a position. */
import type { Cluster } from './cluster.js'
import type { Node } from './node.js'

export interface Target {
  /** Equal for equal targets. */
  readonly key: string
  /** When one node is enough: whether it may be this one. */
  accepts?(node: Node, cluster: Cluster): boolean
  /** Monotonic: whoever has reached an offset has reached all smaller ones of its lineage. */
  reached(cluster: Cluster, lineage: string, offset: bigint): boolean
}

/** Rule 5: a node that is not usable, or does not say where it is, has not applied anything. */
export function hasIt(node: Node, cluster: Cluster, lineage: string, offset: bigint): boolean {
  if (!node.usable) return false
  // The primary has all of the history it writes, and what is remembered of its position is older than that.
  return (node === cluster.primary && lineage === cluster.lineage) || node.hasApplied(lineage, offset)
}

function oneOf(key: string, accepts: (node: Node, cluster: Cluster) => boolean): Target {
  const reached = (cluster: Cluster, lineage: string, offset: bigint) =>
    cluster.nodes.some(node => accepts(node, cluster) && hasIt(node, cluster, lineage, offset))
  return Object.freeze({ key, accepts, reached })
}

export const ANY_REPLICA: Target = oneOf('any', node => node.follows)

/** Some replica of the router's own region. */
export const NEAR_REPLICA: Target = oneOf('near', (node, cluster) => node.follows && node.region === cluster.region)
