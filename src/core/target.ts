/** What somebody waits for: which nodes have to have applied a position. */
import type { Cluster } from './cluster.js'
import type { Node } from './node.js'

export interface Target {
  /** Equal for equal targets. */
  readonly key: string
  /** Monotonic: whoever has reached an offset has reached all smaller ones of its lineage. */
  reached(cluster: Cluster, lineage: string, offset: bigint): boolean
}

/** Rule 5: a node that is not usable, or does not say where it is, has not applied anything. */
export function hasIt(node: Node, cluster: Cluster, lineage: string, offset: bigint): boolean {
  if (!node.usable) return false
  // The primary has all of the history it writes, and what is remembered of its position is older than that.
  return (node === cluster.primary && lineage === cluster.lineage) || node.hasApplied(lineage, offset)
}

export const ANY_REPLICA: Target = Object.freeze({
  key: 'any',
  reached: (cluster: Cluster, lineage: string, offset: bigint) =>
    cluster.nodes.some(node => node.role === 'replica' && hasIt(node, cluster, lineage, offset)),
})

/** Some replica of the router's own region. */
export const NEAR_REPLICA: Target = Object.freeze({
  key: 'near',
  reached: (cluster: Cluster, lineage: string, offset: bigint) =>
    cluster.nodes.some(
      node => node.role === 'replica' && node.region === cluster.region && hasIt(node, cluster, lineage, offset),
    ),
})
