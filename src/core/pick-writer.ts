import type { Cluster } from './cluster.js'
import { type Fence, NO_FENCE, opens, withoutLost } from './fence.js'
import { isBetter } from './ladder.js'
import type { Node } from './node.js'

/**
 * The node that takes a write: the primary. In a leaderless cluster any peer that writes a log, the nearest as for reads; and what is
 * a read, and cannot be told from a write, needs one that has what its `fence` asks for.
 */
export function pickWriter(cluster: Cluster, fence: Fence = NO_FENCE): Node | undefined {
  if (cluster.logs === undefined) return cluster.primary
  const needed = withoutLost(fence)
  let best: Node | undefined
  for (const node of cluster.nodes) {
    if (!node.usable || node.peer?.log === undefined || !opens(needed, node)) continue
    if (best === undefined || isBetter(node, best, cluster.region)) best = node
  }
  return best
}
