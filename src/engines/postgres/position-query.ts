/**
 * How a PostgreSQL node is asked where it is.
 *
 * **Order matters.** On a standby the applied position is read *before* the timeline that the WAL receiver is on. The
 * receiver's timeline only grows, and everything a standby has replayed lies in the history of any timeline its receiver
 * is on later; so "at LSN x, in the history of timeline t" is true. Read the other way round, the standby could switch
 * in between and x would be credited to a history that was cut off. The inner select with `OFFSET 0` is evaluated before
 * the outer one's scalar subquery.
 *
 * `pg_control_checkpoint()` would not do: after a promotion it shows the old timeline until the next checkpoint. Nor
 * would a NULL: without a running receiver (or without `pg_read_all_stats`, which `pg_monitor` includes) the history is
 * not known, and unknown means "not caught up".
 *
 * `received` is read before `applied`: see `read-bound.ts`.
 */

import type { Observation } from '../../core/engine.js'
import { ConfigurationError } from '../../core/errors.js'
import { endOfLastRecord, parseLsn, type WalGeometry } from './lsn.js'

const POSITION_COLUMNS = `
         pg_is_in_recovery() AS recovering,
         CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() END AS received,
         CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END AS applied`

const TIMELINE = `
       CASE WHEN p.recovering THEN (SELECT received_tli::text FROM pg_stat_wal_receiver)
            ELSE left(pg_walfile_name(p.applied), 8) END AS timeline`

/** Cheap: for repeated questions on a connection whose identity is known. */
export const POSITION_QUERY = {
  name: 'tidemark_position',
  text: `SELECT p.recovering, p.received::text, p.applied::text,${TIMELINE}
FROM (SELECT ${POSITION_COLUMNS} OFFSET 0) p`,
} as const

/** The first question on every new connection: who is this, and where. */
export const CHECK_QUERY = {
  text: `SELECT p.recovering, p.received::text, p.applied::text, p.system, p.started, p.version, p.segment_size, p.block_size,
       p.may_see,${TIMELINE}
FROM (SELECT ${POSITION_COLUMNS},
         (SELECT system_identifier::text FROM pg_control_system()) AS system,
         concat_ws('/', extract(epoch FROM pg_postmaster_start_time()),
           (SELECT extract(epoch FROM backend_start) FROM pg_stat_activity WHERE backend_type = 'checkpointer')) AS started,
         current_setting('server_version_num')::int AS version,
         pg_size_bytes(current_setting('wal_segment_size'))::text AS segment_size,
         current_setting('wal_block_size') AS block_size,
         pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS may_see
      OFFSET 0) p`,
} as const

export interface PositionRow {
  readonly recovering: boolean
  readonly received: string | null
  readonly applied: string | null
  readonly timeline: string | null
}

export interface CheckRow extends PositionRow {
  readonly system: string
  readonly started: string
  readonly version: number
  readonly segment_size: string
  readonly block_size: string
  readonly may_see: boolean
}

/** What stays the same for the life of one connection to one server. */
export interface ServerIdentity extends WalGeometry {
  readonly system: string
  /**
   * The system, and when the postmaster and its checkpointer started: another value means another life. The postmaster's
   * start alone would not do: after the crash of one of its processes a standby replays from its last restartpoint and
   * opens at an *older* position, under the same postmaster. Every such restart has a new checkpointer.
   */
  readonly incarnation: string
  readonly version: number
}

const MIN_VERSION = 130_000

/** Throws {@link ConfigurationError} when this server cannot be used, with what to do about it. */
export function identityOf(row: CheckRow): ServerIdentity {
  if (row.version < MIN_VERSION) {
    throw new ConfigurationError(
      `PostgreSQL ${Math.floor(row.version / 10_000)} is too old: Tidemark needs 13 or newer, which tells the positions it relies on. Upgrade the server.`,
    )
  }
  if (row.recovering && !row.may_see) {
    throw new ConfigurationError(
      'the user may not see which history this standby follows (pg_stat_wal_receiver): as a superuser on the primary, run GRANT pg_monitor TO the user Tidemark connects as',
    )
  }
  return {
    system: row.system,
    incarnation: `${row.system}/${row.started}`,
    version: row.version,
    segmentSize: BigInt(row.segment_size),
    blockSize: BigInt(row.block_size),
  }
}

/** What a node said, in the core's terms. Throws on anything unparsable. */
export function observationOf(row: PositionRow, identity: ServerIdentity, sentAt: number, receivedAt: number): Observation {
  const applied = row.applied === null ? undefined : parseLsn(row.applied)
  return {
    sentAt,
    receivedAt,
    role: row.recovering ? 'replica' : 'primary',
    system: identity.system,
    incarnation: identity.incarnation,
    epoch: row.timeline === null ? undefined : parseTimeline(row.timeline, row.recovering ? 10 : 16),
    applied: applied !== undefined && !row.recovering ? endOfLastRecord(applied, identity) : applied,
  }
}

function parseTimeline(text: string, radix: number): number {
  const timeline = Number.parseInt(text, radix)
  if (!Number.isSafeInteger(timeline) || timeline < 1) throw new SyntaxError(`not a timeline: ${JSON.stringify(text)}`)
  return timeline
}
