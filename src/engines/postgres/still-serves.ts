import type { Cluster } from '../../core/cluster.js'
import type { Fence } from '../../core/fence.js'
import type { Rung } from '../../core/ladder.js'
import type { Node } from '../../core/node.js'
import type { Lease } from './connections.js'

/** Whether what the router decided holds now, on this very connection. */
export function stillServes(cluster: Cluster, node: Node, lease: Lease, rung: Rung, fence: Fence): boolean {
  if (!node.usable || (!node.balanced && lease.identity.incarnation !== node.incarnation)) return false
  if (node === cluster.primary) return true
  if (rung.fallback) return false
  if (!rung.fenced || node.balanced || fence.kind === 'none') return node.role === 'replica'
  return fence.kind === 'at' && node.hasApplied(fence.lineage, fence.offset)
}
