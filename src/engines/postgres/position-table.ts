/** The statements of `postgresTokenStore`. */
import { quotedTable } from './table-name.js'

export interface PositionTable {
  /** Quoted, with its schema if it was given one. */
  readonly name: string
  readonly create: string
  /** $1 user key, $2 position, $3 settled position, $4 the age in milliseconds from which `touched` is renewed. */
  readonly raise: string
  /** $1 user key. Rows of lineage and position, both text. */
  readonly get: string
  /**
   * $1 the applied position, $2 milliseconds untouched, $3 rows to look at at most, behind $4 (microseconds since 1970) and $5 (user
   * key). The last row that was looked at, in the same form, and how many were; none if none was.
   */
  readonly expire: string
  /** $1 rows to stay, $2 rows at most. */
  readonly shrink: string
}

/**
 * One row a user, all lineages in it. With a row a lineage, a concurrent raise and drop could leave a part of what is known of a
 * user, and a part looks like all. In one row the row's lock makes each change one of the whole.
 */
export function positionTable(table: string): PositionTable {
  const name = quotedTable(table, 'postgresTokenStore')
  return {
    name,
    // The second key is the index by time; as a constraint it comes with the table, in one step. The fill factor leaves room on
    // the page for the next version of a row.
    create:
      `CREATE UNLOGGED TABLE IF NOT EXISTS ${name} (user_key text PRIMARY KEY, positions jsonb NOT NULL, ` +
      'touched timestamptz NOT NULL, UNIQUE (touched, user_key)) WITH (fillfactor = 70)',
    // The conflicting row is locked and its newest version read before SET is evaluated, so concurrent raises join one after the other.
    raise: `
      INSERT INTO ${name} AS kept (user_key, positions, touched) VALUES ($1, $2::jsonb, now())
      ON CONFLICT (user_key) DO UPDATE SET
        positions = (
          SELECT coalesce(jsonb_object_agg(lineage, position), '{}')
          FROM (
            SELECT lineage, max(position) AS position
            FROM (
              SELECT key AS lineage, value::numeric AS position FROM jsonb_each_text(kept.positions)
              WHERE ${isBeyond('$3')}
              UNION ALL SELECT key, value::numeric FROM jsonb_each_text(excluded.positions)
            ) AS entries
            GROUP BY lineage
          ) AS joined
        ),
        touched = CASE WHEN kept.touched <= now() - ${interval('$4')} THEN now() ELSE kept.touched END`,
    get: `SELECT key AS lineage, value AS position FROM ${name}, jsonb_each_text(positions) WHERE user_key = $1`,
    // Looks at a piece of the index by time, so that users who stay cost no more than a look each. The conditions are on the deleted row
    // too: one that was raised meanwhile is judged as it is then. Rows that somebody is raising are skipped: they are not
    // untouched, and so nobody waits for anybody.
    expire: `
      WITH looked AS (
        SELECT touched, user_key FROM ${name}
        WHERE touched <= now() - ${interval('$2')} AND (touched, user_key) > (${EPOCH} + $4::bigint * interval '1 microsecond', $5)
        ORDER BY touched, user_key LIMIT $3
      ), due AS (
        SELECT user_key FROM ${name} AS old
        WHERE user_key IN (SELECT user_key FROM looked) AND ${isOutOfDate('old')} FOR UPDATE SKIP LOCKED
      ), ended AS (
        DELETE FROM ${name} AS dropped WHERE user_key IN (SELECT user_key FROM due) AND ${isOutOfDate('dropped')}
      )
      SELECT round(extract(epoch FROM touched) * 1000000)::bigint::text AS touched, user_key, count(*) OVER ()::int AS looked
      FROM looked ORDER BY looked.touched DESC, looked.user_key DESC LIMIT 1`,
    shrink: `
      DELETE FROM ${name} WHERE user_key IN (
        SELECT user_key FROM ${name} ORDER BY touched
        LIMIT (SELECT greatest(0, least($2::bigint, count(*) - $1::bigint)) FROM ${name}) FOR UPDATE SKIP LOCKED
      )`,
  }
}

/** Time goes back and forth in microseconds, which do not depend on a session's time zone and date style. */
const EPOCH = "timestamptz '1970-01-01 00:00:00+00'"

/** Of an entry (key, value): `position` does not include it. */
function isBeyond(position: string): string {
  return `value::numeric > coalesce((${position}::jsonb ->> key)::numeric, -1)`
}

function isOutOfDate(row: string): string {
  const included = `NOT EXISTS (SELECT FROM jsonb_each_text(${row}.positions) WHERE ${isBeyond('$1')})`
  return `${row}.touched <= now() - ${interval('$2')} AND ${included}`
}

function interval(milliseconds: string): string {
  return `${milliseconds}::float8 * interval '1 millisecond'`
}
