import type { Cluster } from '../cluster.js'
import { parseLineage, type Role } from '../engine.js'
import type { Node } from '../node.js'

/** What the router knows of one node. */
export interface NodeStatus {
  readonly node: string
  readonly role: Role | undefined
  readonly usable: boolean
  /** Why it is not usable. */
  readonly problem: string | undefined
  readonly region: string | undefined
  /** Its address hides several servers, so nothing is known of where it is. */
  readonly balanced: boolean
  /** Orders the histories of the system; PostgreSQL's timeline. */
  readonly epoch: number | undefined
  readonly applied: bigint | undefined
  /** Units of log between the newest known position of the primary and this node. */
  readonly behind: number | undefined
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
    balanced: node.balanced,
    epoch: node.lineage === undefined ? undefined : parseLineage(node.lineage)?.epoch,
    applied: node.applied,
    behind: comparable ? Math.max(0, Number(newest - node.applied!)) : undefined,
    stalenessMs: cluster.stalenessMs(node, now),
    inFlight: node.inFlight,
    latencyMs: Number.isFinite(node.latencyMs) ? node.latencyMs : undefined,
  }
}
