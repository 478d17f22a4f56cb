/**
 * Capturing the position of a commit (rule 2).
 *
 * The question is asked *behind* the write in the same pipeline, each with its own Sync: the server takes it up only
 * after the write's implicit transaction (or the COMMIT) has ended, so the position includes the commit record. Asked
 * before, or within the same transaction, it could name a position in front of that record.
 *
 * `pg_current_wal_insert_lsn()` and not the flush position: under `synchronous_commit = off`, also when only that one
 * transaction set it, COMMIT returns before its record is flushed, and the flush position lies in front of it.
 */
import { Position } from '../../core/position.js'
import type { Session } from '../../core/session.js'
import type { Answer } from './driver.js'
import { endOfLastRecord, parseLsn } from './lsn.js'
import type { Lease } from './postgres-node.js'

export const CAPTURE_QUERY = {
  name: 'tidemark_capture',
  text: 'SELECT pg_current_wal_insert_lsn()::text',
  rowMode: 'array',
} as const

/** The position after everything that this connection has committed; `undefined` when it could not be had. */
export function capturedPosition(answer: Answer | undefined, lease: Lease): Position | undefined {
  const text = (answer?.result?.rows[0] as readonly unknown[] | undefined)?.[0]
  if (typeof text !== 'string' || lease.writes === undefined) return undefined
  try {
    return Position.at(lease.writes, endOfLastRecord(parseLsn(text), lease.identity))
  } catch {
    return undefined
  }
}

/**
 * Enters a write into its session. Without a position (the answer was lost, on either side of the COMMIT) the session
 * becomes uncertain: the write is never taken for not committed, nor for committed at a position that was guessed.
 */
export function enterWrite(session: Session, position: Position | undefined): Promise<void> | undefined {
  if (position !== undefined) return session.wrote(position)
  session.doubt()
  return undefined
}
