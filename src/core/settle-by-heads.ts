/**
 * Settles what a session of a leaderless cluster is uncertain of: it may have written something whose position is not known,
 * and there is no primary which would have it.
 *
 * **Why a look at every writer settles it.** An acknowledged write is in its writer's own log, whose readers see it, before the
 * acknowledgement is sent. So after every peer has answered a question that was sent later, the join of all that they have
 * includes every write acknowledged before, in whichever log it is. One peer that is missing may be the one that has it: then
 * nothing is settled, and the session goes on asking for what no position proves, which no rung serves unless it was
 * chosen to serve less. Not only the ends of their own logs: of one that lost its end, others may have more, and that end
 * may hold the write.
 *
 * **What it costs**: a round trip to the furthest peer, and then a read that waits until one peer has what all of them had.
 */
import type { Clock } from './clock.js'
import type { Cluster } from './cluster.js'
import type { Fence } from './fence.js'
import { allWrites, EMPTY_HISTORY } from './history.js'
import type { Logs } from './logs.js'
import type { Monitor } from './monitor.js'
import { Position } from './position.js'
import type { Session } from './session.js'

export interface SettlingContext {
  readonly cluster: Cluster
  readonly monitor: Monitor
  readonly clock: Clock
}

/**
 * Before a fence is made: settles when the session is certain, or every peer has been asked, and when as much is known as can be of
 * logs that nobody is known to continue. `undefined` when there is nothing to do, which is the rule, and in a cluster that
 * has a primary. Bounded by the monitor's time-out; never rejects.
 */
export function settleByHeads(session: Session, context: SettlingContext): Promise<void> | undefined {
  const { logs } = context.cluster
  if (logs === undefined) return undefined
  const { history } = session
  if (history.uncertain) return settle(session, logs, context)
  return lookForOpen(allWrites(history).join(history.reads), logs, context.monitor)
}

/** Settles when as much is known as can be of what nobody is known to have. `undefined` when there is no such thing. */
export function lookForOpen({ entries }: Position, logs: Logs, monitor: Monitor): Promise<void> | undefined {
  const isOpen = entries.some(({ lineage, offset }) => logs.verdict(lineage, offset) !== 'preserved')
  return isOpen ? monitor.refresh() : undefined
}

async function settle(session: Session, logs: Logs, { monitor, clock }: SettlingContext): Promise<void> {
  const { doubts } = session
  const since = logs.moment(clock.now())
  await monitor.refresh()
  const heard = logs.heardSince(since)
  if (heard === undefined) return
  // "Somewhere in this log" is now known to be before its end; unless the log has lost its end, for that may hold the write.
  session.settle(heard.written, doubts)
  session.join({ ...EMPTY_HISTORY, writes: heard.closed })
}

/**
 * After a read with this fence was served in a leaderless cluster, and its outcome has told: the session lets go of what is possibly
 * lost. `doubts` as they were when the fence was made. In a cluster with a primary the primary's answer settles it.
 */
export function settleTold(session: Session, fence: Fence, doubts: number): void {
  if (fence.kind !== 'possibly-lost' || fence.rest === undefined) return
  if (session.history.uncertain) session.letGo(fence.position)
  else session.settle(Position.zero, doubts, fence.position)
}
