/** What has to travel with a read on its own connection, and what the answer means for the session. */
import type { Cluster } from '../cluster.js'
import { hadApplied, type Observation } from '../engine.js'
import { entriesOf, type Fence, isPositionFence, withoutLost } from '../fence.js'
import type { Node } from '../node.js'
import { Position } from '../position.js'
import type { Session } from '../session.js'
import { settleTold } from '../settle-by-heads.js'

/**
 * How a read is to be sent:
 *
 * - `plain`: alone.
 * - `settling`: on the primary, whose position is asked for behind the read (`captured`): it settles an uncertain session.
 * - `bounded`: with an upper bound of what the read has shown behind it (`bound`), for monotonic reads.
 * - `checked`: behind an address that hides several servers. The server is asked where it is (`checked`) *before* the read's
 *   snapshot, and for the bound behind it, so that all three surely reach the same server. Nothing is remembered of it.
 */
export type ReadForm = 'plain' | 'settling' | 'bounded' | 'checked'

/** What came back with a read. Whatever was asked for and is not known is left `undefined`: never guessed. */
export interface ReadAnswer<R> {
  readonly result: R
  readonly captured?: Position | undefined
  readonly bound?: Position | undefined
  readonly checked?: Observation | undefined
}

/**
 * `isPrimary`: of the node that serves. Where a stale read was chosen another one may serve an uncertain session, and what that one
 * says of itself settles nothing: a peer's log may lack what another peer has.
 */
export function formOf(fence: Fence, session: Session | undefined, balanced: boolean, isPrimary: boolean): ReadForm {
  const bounds = session?.guarantee === 'monotonic-reads'
  const needed = withoutLost(fence)
  if (balanced && (isPositionFence(needed) || bounds)) return 'checked'
  if (session !== undefined && isPrimary && (needed.kind === 'primary' || needed.kind === 'possibly-lost')) return 'settling'
  return bounds ? 'bounded' : 'plain'
}

/** Whether the server that answered, on the read's own connection and before it, has applied the fence. */
export function covers(checked: Observation | undefined, fence: Fence): boolean {
  const needed = withoutLost(fence)
  if (!isPositionFence(needed)) return true
  return checked !== undefined && entriesOf(needed).every(({ lineage, offset }) => hadApplied(checked, lineage, offset))
}

/** What a read that was sent with this fence is to be entered with: of the session and the node as they were then. */
export interface SentRead {
  readonly form: ReadForm
  readonly fence: Fence
  readonly doubts: number
  /** The history that the node shows; `undefined` when not known, and of a peer. */
  readonly lineage: string | undefined
}

/** What a read has shown, and what the primary's answer settles. */
export function enterRead<R>(session: Session, { form, fence, doubts, lineage }: SentRead, answer: ReadAnswer<R>): void {
  const monotonic = session.guarantee === 'monotonic-reads'
  settleTold(session, fence, doubts)
  if (form === 'settling') {
    const { captured } = answer
    if (captured === undefined) return
    session.settle(captured, doubts, fence.kind === 'possibly-lost' ? fence.position : undefined)
    if (monotonic) session.saw(captured)
  } else if (monotonic) {
    // What it has shown cannot be bounded: only the primary is certain not to go back from there.
    if (answer.bound === undefined) session.sawUnbounded(lineage)
    else session.saw(answer.bound)
  }
}

/**
 * A lower bound of what a read that is sent to `node` now will show; `undefined` when nothing is proven.
 *
 * On a replica the applied position is one: a commit is visible before it advances. On the primary there is none but zero: a
 * commit's record is in the log before the commit is visible, for as long as it waits for its flush or for replicas. A peer
 * says what its readers see, of its own log as well.
 */
export function readFloor(node: Node, cluster: Cluster): Position | undefined {
  if (node === cluster.primary) return Position.zero
  if (cluster.logs !== undefined) return node.peer?.applied
  if (node.balanced || node.lineage === undefined || node.applied === undefined) return undefined
  return Position.at(node.lineage, node.applied)
}
