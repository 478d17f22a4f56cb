/**
 * Positions of users in a table of the primary itself: a shared token store that needs no further server.
 *
 * The table is UNLOGGED: raising a position costs no WAL of its own, no flush and no replication. After a crash and on a promoted
 * standby an unlogged table is empty. That reads as "unknown", never as "older": each user goes to the primary once, which is
 * safe. (A table that came back with older rows would not be.)
 */
import { checkNumber } from '../../core/check-number.js'
import { ConfigurationError } from '../../core/errors.js'
import { Position } from '../../core/position.js'
import { DEFAULT_RETAIN_MS, type TokenStore } from '../../core/token-store.js'
import { userKey } from '../../core/user-key.js'
import { type PositionTable, positionTable } from './position-table.js'

/**
 * Runs one statement, with parameters, on the present primary, as a transaction of its own at READ COMMITTED (a stricter
 * isolation makes concurrent raises of one user fail instead of waiting for each other).
 */
export type PrimaryQuery = (
  text: string,
  values: readonly unknown[],
) => Promise<{ readonly rows: readonly Record<string, unknown>[] }>

/** Makes a token store on the primary of the database that it is given to. */
export type PostgresTokenStoreFactory = (query: PrimaryQuery) => TokenStore

export interface PostgresTokenStoreOptions {
  /** A name, or `schema.name`; kept as it is written, upper case too. One database's only. Default `tidemark_positions`. */
  readonly table?: string
  /** `expire` forgets the users beyond this many, those first that were raised longest ago. Default 1 000 000. */
  readonly maxUsers?: number
  /**
   * How long, in milliseconds since a user's last write, positions are kept that every replica has applied. When that was is kept to the
   * hour, or to a hundredth of `retainMs`. Default 30 days.
   */
  readonly retainMs?: number
}

/** How many rows one call of `expire` looks at for being out of date, and removes at most of those beyond `maxUsers`. */
const BATCH = 1_000
/** Microseconds since 1970, and a user key. */
const START: readonly [string, string] = ['0', '']
/** PostgreSQL manual, appendix A. */
const UNDEFINED_TABLE = '42P01'
const INSUFFICIENT_PRIVILEGE = '42501'
const INVALID_SCHEMA_NAME = '3F000'
const CREATED_BY_ANOTHER = new Set([
  '23505', // unique_violation in pg_type or pg_class: "IF NOT EXISTS" looks first, and two may look at once
  '42P07', // duplicate_table
  '42710', // duplicate_object
])
const CREATE_ATTEMPTS = 5

/**
 * A token store in the database itself, shared by all processes that use it. The table is made at its first use, and again when
 * it is gone; that takes the right to create one. Rows are a hash of the user id, positions, and a time.
 *
 * Throws `ConfigurationError` when an option cannot work. Methods reject with `ConfigurationError` and the SQL to run when the
 * table is not there and may not be made, or may not be used; with the error of `query` otherwise.
 */
export function postgresTokenStore(options: PostgresTokenStoreOptions = {}): PostgresTokenStoreFactory {
  const { table = 'tidemark_positions', maxUsers = 1_000_000, retainMs = DEFAULT_RETAIN_MS } = options
  checkNumber('postgresTokenStore: maxUsers', maxUsers, { integer: true, min: 1 })
  checkNumber('postgresTokenStore: retainMs', retainMs, { min: 0 })
  const sql = positionTable(table)
  // So that most raises leave the indexed column as it is: then PostgreSQL has no index to change (a "HOT" update).
  const touchEveryMs = Math.min(3_600_000, retainMs / 100)
  return query => {
    const run = withTable(query, sql)
    /** Of the users in the order of time: those up to this one have been looked at, and the next call goes on behind. */
    let lookedUpTo = START
    return {
      async raise(user, position, settled = Position.zero) {
        if (position.isZero && settled.isZero) return
        await run(sql.raise, [userKey(user), toJson(position), toJson(settled), touchEveryMs])
      },
      async get(user) {
        const { rows } = await run(sql.get, [userKey(user)])
        if (rows.length === 0) return undefined
        return Position.of(rows.map(row => ({ lineage: String(row.lineage), offset: BigInt(String(row.position)) })))
      },
      async expire(applied) {
        const { rows } = await run(sql.expire, [toJson(applied), retainMs, BATCH, ...lookedUpTo])
        const last = rows[0]
        lookedUpTo = Number(last?.looked ?? 0) < BATCH ? START : [String(last?.touched), String(last?.user_key)]
        await run(sql.shrink, [maxUsers, BATCH])
      },
    }
  }
}

/** `query`, with the table made when it is missing: at first use, after somebody dropped it, on a primary that never had it. */
function withTable(query: PrimaryQuery, sql: PositionTable): PrimaryQuery {
  let creating: Promise<void> | undefined
  return async (text, values) => {
    try {
      return await query(text, values)
    } catch (error) {
      if (codeOf(error) === INSUFFICIENT_PRIVILEGE) throw notAllowed(sql, error)
      if (codeOf(error) !== UNDEFINED_TABLE) throw error
    }
    creating ??= create(query, sql).finally(() => {
      creating = undefined
    })
    await creating
    return query(text, values)
  }
}

async function create(query: PrimaryQuery, sql: PositionTable): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await query(sql.create, [])
      return
    } catch (error) {
      if (codeOf(error) === INSUFFICIENT_PRIVILEGE || codeOf(error) === INVALID_SCHEMA_NAME) throw notAllowed(sql, error)
      // The other one's table is there as soon as its statement has ended; that is what ours then finds.
      if (!CREATED_BY_ANOTHER.has(codeOf(error)) || attempt === CREATE_ATTEMPTS) throw error
    }
  }
}

function notAllowed(sql: PositionTable, cause: unknown): ConfigurationError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new ConfigurationError(
    `the token store may not make or use its table ${sql.name} (${reason}). Run this as a user who may, with the application's ` +
      `user in place of "application":\n${sql.create};\nGRANT SELECT, INSERT, UPDATE, DELETE ON ${sql.name} TO "application";`,
    { cause },
  )
}

function codeOf(error: unknown): string {
  return error instanceof Error ? String((error as { readonly code?: unknown }).code) : ''
}

/** By hand: `JSON.stringify` takes no bigint, and a number would lose bits. PostgreSQL keeps all digits of a JSON number. */
function toJson(position: Position): string {
  return `{${position.entries.map(({ lineage, offset }) => `${JSON.stringify(lineage)}:${offset}`).join()}}`
}
