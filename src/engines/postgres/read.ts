/**
 * How one read is sent on a lease: alone, or with whatever has to travel with it on the same connection.
 */
import type pg from 'pg'
import type { Observation } from '../../core/engine.js'
import type { ReadAnswer, ReadForm } from '../../core/execution/read-form.js'
import type { Position } from '../../core/position.js'
import { capturedPosition, sendWithCapture } from './capture.js'
import type { Lease } from './connections.js'
import { type Answer, type QueryInput, send, sendTogether } from './driver.js'
import { finish, type Interrupt } from './interrupt.js'
import { CHECK_QUERY, type CheckRow, identityOf, observationOf, POSITION_QUERY, type PositionRow } from './position-query.js'
import { upperBoundOf } from './read-bound.js'

export interface ReadPlan {
  readonly input: QueryInput
  readonly values: readonly unknown[] | undefined
  readonly interrupt: Interrupt | undefined
}

type Answers = ReadAnswer<pg.QueryResult>

/** Sends a read and releases the lease when it has ended. Rejects with the driver's error. */
export function sendRead(lease: Lease, form: ReadForm, plan: ReadPlan): Promise<Answers> {
  return SENDERS[form](lease, plan)
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
      finish(interrupt, lease, error, shown => {
        if (shown !== undefined) reject(shown)
        else resolve({ result: result!, captured: capturedPosition(captured, lease) })
      })
    })
  })
}

/** With an upper bound of what it has shown behind it, for monotonic reads. */
function sendBounded(lease: Lease, { input, values, interrupt }: ReadPlan): Promise<Answers> {
  return new Promise((resolve, reject) => {
    sendTogether(lease.connection, [[input, values], [{ ...POSITION_QUERY }]], ([read, bound]) => {
      finish(interrupt, lease, read!.error, shown =>
        shown === undefined ? resolve({ result: read!.result!, bound: boundOf(bound, lease) }) : reject(shown),
      )
    })
  })
}

/**
 * Behind an address that hides several servers: the check, the read and its bound in one go. In one transaction, so that
 * a pooler in transaction mode keeps them on one server; each statement of it takes its own snapshot, so the read's is
 * later than the check.
 */
function sendChecked(lease: Lease, { input, values, interrupt }: ReadPlan): Promise<Answers> {
  const statements = [['BEGIN READ ONLY'], [CHECK_QUERY.text], [input, values], [CHECK_QUERY.text], ['COMMIT']] as const
  return new Promise((resolve, reject) => {
    sendTogether(lease.connection, statements, ([, check, read, bound, commit]) => {
      finish(interrupt, lease, read!.error ?? commit!.error, shown => {
        if (shown !== undefined) reject(shown)
        else resolve({ result: read!.result!, checked: checkedOf(check), bound: boundOf(bound, lease) })
      })
    })
  })
}

const SENDERS = { plain: sendPlain, settling: sendSettling, bounded: sendBounded, checked: sendChecked }

function boundOf(answer: Answer | undefined, lease: Lease): Position | undefined {
  const row = answer?.result?.rows[0] as CheckRow | PositionRow | undefined
  try {
    return row && upperBoundOf(row, 'system' in row ? identityOf(row) : lease.identity)
  } catch {
    return undefined
  }
}

/** Where the server said that it is; unparsable is as good as not said. */
function checkedOf(answer: Answer | undefined): Observation | undefined {
  const row = answer?.result?.rows[0] as CheckRow | undefined
  try {
    return row && observationOf(row, identityOf(row), 0, 0)
  } catch {
    return undefined
  }
}
