/**
 * Monotonic reads need an *upper* bound of what a read has shown, as a position that a later read's node must have
 * applied. It is asked for behind the read on the same connection, pipelined, so it costs no round trip.
 *
 * **On the primary**: `pg_current_wal_insert_lsn()` after the read. A commit becomes visible only after its record was
 * inserted, so everything the read saw lies before that position.
 *
 * **On a standby** the naive choice, `pg_last_wal_replay_lsn()` after the read, is *not* an upper bound: redo of a commit
 * record makes the transaction visible first and advances the replay position a moment later, so the read may have seen
 * a commit whose record *begins* at the position x reported and ends somewhere beyond it. Records are applied whole, so
 * any node that has applied more than x has applied that record: the bound x + 1 is sound, and asks for nothing else.
 *
 * On an idle system, however, nothing may ever follow x and x + 1 would never be reached. If the WAL receiver runs and
 * had received no more than x (asked before x), there was no such record in flight: a standby replays from its receiver
 * only what has been received. Then x itself is the bound. (Had the record come from the archive or from disk before the
 * receiver started, its redo had ended before the receiver ran, and x, read later, includes it.)
 */
import { lineageOf } from '../../core/engine.js'
import { Position } from '../../core/position.js'
import { parseLsn } from './lsn.js'
import { observationOf, type PositionRow, type ServerIdentity } from './position-query.js'

/** `undefined` when the node did not say in which history it is: the caller must then treat the read as unbounded. */
export function upperBoundOf(row: PositionRow, identity: ServerIdentity): Position | undefined {
  const { epoch, applied, role } = observationOf(row, identity, 0, 0)
  if (epoch === undefined || applied === undefined) return undefined
  const mayBeInFlight = role === 'replica' && (row.received === null || parseLsn(row.received) > applied)
  return Position.at(lineageOf(identity.system, epoch), mayBeInFlight ? applied + 1n : applied)
}
