import type { OperationRecord } from './record.js'
import type { SessionLog } from './session-log.js'
import type { Version } from './version.js'

/** An operation, with all that it names looked up once, so that the rules need no names. */
export interface Operation {
  readonly record: OperationRecord
  readonly session: SessionLog
  readonly reads: readonly Version[]
  readonly writes: readonly Version[]
}
