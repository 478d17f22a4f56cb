import type { Cluster } from '../../core/cluster.js'
import type { Role } from '../../core/engine.js'
import type { Node } from '../../core/node.js'
import { formatLsn } from './lsn.js'

/** What the router knows of one node. */
export interface NodeStatus {
  readonly node: string
  readonly role: Role | undefined
  readonly usable: boolean
  /** Why it is not usable. */
  readonly problem: string | undefined
  readonly region: string | undefined
  readonly timeline: number | undefined
  /** Applied position, `16/B374D848`. */
  readonly applied: string | undefined
  /** Bytes of log between the newest known position of the primary and this node. */
  readonly behindBytes: number | undefined
  /** At most this long ago the primary was where this node is. */
  readonly stalenessMs: number | undefined
  readonly inFlight: number
  /** Moving average of the monitor's round trip. */
  readonly latencyMs: number | undefined
}

export function statusOf(node: Node, cluster: Cluster, now: number): NodeStatus {
  const newest = cluster.log.newest
  const comparable = node.applied !== undefined && node.lineage === cluster.lineage && newest !== undefined
  return {
    node: node.id,
    role: node.role,
    usable: node.usable,
    problem: node.problem?.reason,
    region: node.region,
    timeline: node.lineage === undefined ? undefined : Number(node.lineage.split('/')[1]),
    applied: node.applied === undefined ? undefined : formatLsn(node.applied),
    behindBytes: comparable ? Math.max(0, Number(newest - node.applied!)) : undefined,
    stalenessMs: cluster.stalenessMs(node, now),
    inFlight: node.inFlight,
    latencyMs: Number.isFinite(node.latencyMs) ? node.latencyMs : undefined,
  }
}
