import type { Cluster } from '../cluster.js'
import { type Fence, opens, withoutLost } from '../fence.js'
import type { Rung } from '../ladder.js'
import type { Node } from '../node.js'
import type { Lease } from './engine.js'

/** Whether what the router decided holds now, on this very connection. */
export function stillServes(cluster: Cluster, node: Node, lease: Lease, rung: Rung, fence: Fence): boolean {
  if (!node.usable || (!node.balanced && lease.incarnation !== node.incarnation)) return false
  if (node === cluster.primary) return true
  if (rung.fallback && cluster.logs === undefined) return false
  if (!rung.fenced || node.balanced || fence.kind === 'none') return node.follows
  return opens(withoutLost(fence), node)
}
