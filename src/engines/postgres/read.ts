/**
 * How one read is sent on a lease: alone, or with whatever has to travel with it on the same connection.
 */
import type pg from 'pg'
import { lineageOf } from '../../core/engine.js'
import type { Fence } from '../../core/fence.js'
import type { Position } from '../../core/position.js'
import { Reroute } from '../../core/router.js'
import type { Session } from '../../core/session.js'
import { type Captured, capturedPosition, sendWithCapture } from './capture.js'
import type { Lease } from './connections.js'
import { type Answer, type QueryInput, send, sendTogether } from './driver.js'
import { finish, type Interrupt } from './interrupt.js'
import { CHECK_QUERY, type CheckRow, identityOf, observationOf, POSITION_QUERY, type PositionRow } from './position-query.js'
import { upperBoundOf } from './read-bound.js'

export interface ReadPlan {
  readonly input: QueryInput
  readonly values: readonly unknown[] | undefined
  readonly fence: Fence
  readonly session: Session | undefined
  /** The address hides several servers. */
  readonly balanced: boolean
  readonly interrupt: Interrupt | undefined
}

/** What came back with a read. */
interface Answers {
  readonly result: pg.QueryResult
  /** Present, though perhaps undefined, when it was asked for. */
  readonly captured?: Captured
  readonly bound?: Answer | undefined
}

/**
 * Sends a read, releases the lease when it has ended, and enters what it means for the session. Rejects with the driver's
 * error, or a `Reroute` when the server behind a balanced address turns out not to have caught up.
 */
export async function sendRead(lease: Lease, plan: ReadPlan): Promise<pg.QueryResult> {
  const { session } = plan
  if (session === undefined && !plan.balanced) return (await sendPlain(lease, plan)).result
  const doubts = session?.doubts ?? 0
  const answers = await form(plan)(lease, plan)
  if (session !== undefined) enterRead(session, answers, plan.fence, lease, doubts)
  return answers.result
}

function form({ fence, session, balanced }: ReadPlan): (lease: Lease, plan: ReadPlan) => Promise<Answers> {
  const bounds = session?.guarantee === 'monotonic-reads'
  if (balanced && (fence.kind === 'at' || bounds)) return sendChecked
  if (fence.kind === 'primary' || fence.kind === 'possibly-lost') return sendSettling
  return bounds ? sendBounded : sendPlain
}

function sendPlain(lease: Lease, { input, values, interrupt }: ReadPlan): Promise<Answers> {
  return new Promise((resolve, reject) => {
    send(lease.connection, input, values, (error, result) => {
      finish(interrupt, lease, error, shown => (shown === undefined ? resolve({ result }) : reject(shown)))
    })
  })
}

/** With the primary's position behind it, which settles an uncertain session. */
function sendSettling(lease: Lease, { input, values, interrupt }: ReadPlan): Promise<Answers> {
  return new Promise((resolve, reject) => {
    sendWithCapture(lease.connection, input, values, ({ error, result }, captured) => {
      finish(interrupt, lease, error, shown => (shown === undefined ? resolve({ result: result!, captured }) : reject(shown)))
    })
  })
}

/** With an upper bound of what it has shown behind it, for monotonic reads. */
function sendBounded(lease: Lease, { input, values, interrupt }: ReadPlan): Promise<Answers> {
  return new Promise((resolve, reject) => {
    sendTogether(lease.connection, [[input, values], [{ ...POSITION_QUERY }]], ([read, bound]) => {
      finish(interrupt, lease, read!.error, shown =>
        shown === undefined ? resolve({ result: read!.result!, bound }) : reject(shown),
      )
    })
  })
}

/**
 * Behind an address that hides several servers: the check, the read and its bound in one go. In one transaction, so that
 * a pooler in transaction mode keeps them on one server; each statement of it takes its own snapshot, so the read's is
 * later than the check. A failed check discards the read.
 */
function sendChecked(lease: Lease, { input, values, fence, interrupt }: ReadPlan): Promise<Answers> {
  const statements = [['BEGIN READ ONLY'], [CHECK_QUERY.text], [input, values], [CHECK_QUERY.text], ['COMMIT']] as const
  return new Promise((resolve, reject) => {
    sendTogether(lease.connection, statements, ([, check, read, bound, commit]) => {
      const declined = !read!.error && fence.kind === 'at' && !covers(check, fence)
      finish(interrupt, lease, read!.error ?? commit!.error, shown => {
        if (shown !== undefined) reject(shown)
        else if (declined) reject(new Reroute('not-caught-up'))
        else resolve({ result: read!.result!, bound })
      })
    })
  })
}

/** What a read has shown, and what the primary's answer settles. Never throws: the read itself has succeeded. */
function enterRead(session: Session, answers: Answers, fence: Fence, lease: Lease, doubts: number): void {
  const monotonic = session.guarantee === 'monotonic-reads'
  if ('captured' in answers) {
    const position = capturedPosition(answers.captured, lease)
    const told = fence.kind === 'possibly-lost' ? fence.position : undefined
    if (position !== undefined) session.settle(position, doubts, told)
    if (position !== undefined && monotonic) session.saw(position)
  } else if (monotonic) {
    const bound = boundOf(answers.bound, lease)
    // What it has shown cannot be bounded: only the primary is certain not to go back from there.
    if (bound === undefined) session.doubt()
    else session.saw(bound)
  }
}

function boundOf(answer: Answer | undefined, lease: Lease): Position | undefined {
  const row = answer?.result?.rows[0] as CheckRow | PositionRow | undefined
  try {
    return row && upperBoundOf(row, 'system' in row ? identityOf(row) : lease.identity)
  } catch {
    return undefined
  }
}

/** Whether the server that answered, on this very connection and before the read, has applied the fence. */
function covers(answer: Answer | undefined, fence: { readonly lineage: string; readonly offset: bigint }): boolean {
  const row = answer?.result?.rows[0] as CheckRow | undefined
  if (row === undefined) return false
  try {
    const { system, epoch, applied } = observationOf(row, identityOf(row), 0, 0)
    return epoch !== undefined && applied !== undefined && lineageOf(system, epoch) === fence.lineage && applied >= fence.offset
  } catch {
    // Unparsable is "not caught up".
    return false
  }
}
