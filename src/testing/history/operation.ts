import type { AskedGuarantee, OperationRecord } from './record.js'
import type { SessionLog } from './session-log.js'
import type { Version } from './version.js'

/** An operation, with all that the rules often ask of it looked up once. */
export class Operation {
  readonly record: OperationRecord
  readonly session: SessionLog
  readonly start: number
  /** `Infinity` when no answer came. */
  readonly end: number
  readonly acknowledged: boolean
  readonly asked: AskedGuarantee
  /** What the answer says that it is. */
  readonly achieved: AskedGuarantee
  readonly fromOwnCache: boolean
  readonly deadlineMs: number | undefined
  reads: readonly Version[] = NONE
  writes: readonly Version[] = NONE

  constructor(record: OperationRecord, session: SessionLog) {
    this.record = record
    this.session = session
    this.start = record.start
    this.end = record.end ?? Number.POSITIVE_INFINITY
    this.acknowledged = record.status === 'ok'
    this.asked = record.asked ?? 'read-your-writes'
    this.achieved = record.achieved ?? this.asked
    this.fromOwnCache = record.fromOwnCache === true
    this.deadlineMs = record.deadlineMs
  }
}

const NONE: readonly Version[] = []

/** Real time within a session. Two operations without duration at the same instant are concurrent. */
export function precedes(a: Operation, b: Operation): boolean {
  return a.end <= b.start && a.start !== b.end
}
