import type { NodeStatus as CoreStatus } from '../../core/database/node-status.js'
import { formatLsn } from './lsn.js'

/** What the router knows of one node. */
export interface NodeStatus extends Omit<CoreStatus, 'epoch' | 'applied' | 'behind'> {
  readonly timeline: number | undefined
  /** Applied position, `16/B374D848`. */
  readonly applied: string | undefined
  /** Bytes of log between the newest known position of the primary and this node. */
  readonly behindBytes: number | undefined
}

/** In PostgreSQL's terms. */
export function statusOf({ epoch, applied, behind, ...rest }: CoreStatus): NodeStatus {
  return { ...rest, timeline: epoch, applied: applied === undefined ? undefined : formatLsn(applied), behindBytes: behind }
}
