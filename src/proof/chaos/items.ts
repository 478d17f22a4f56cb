/** The items of the application, and the ways to read and write them. */
import type { PostgresSession, Tidemark } from '../../engines/postgres/index.js'
import type { ReadValue } from '../../testing/history/record.js'
import type { WorkRequest } from './protocol.js'

const READ = 'SELECT key, value FROM item WHERE key = ANY($1)'
const READ_ONE = 'SELECT value FROM item WHERE key = $1'
const WRITE = `
  WITH changed AS (UPDATE item SET value = $2 WHERE key = $1 RETURNING old.value AS prev),
    noted AS (INSERT INTO audit (value, key, prev) SELECT $2, $1, prev FROM changed)
  SELECT prev FROM changed`

/** Of a statement, or of all statements of a transaction before its COMMIT, which the driver's `query_timeout` bounds. */
const TIMEOUT_MS = 2_000

interface Item {
  readonly key: string
  readonly value: string | null
}

export function readEventually(db: Tidemark, keys: readonly string[]): Promise<ReadValue[]> {
  return db.eventual.query<Item>(READ, [keys]).then(({ rows }) => inOrder(keys, rows))
}

/** All that is read is of one snapshot: of one statement, or of one transaction. */
export const READERS: Readonly<
  Record<WorkRequest['way'], (db: Tidemark, session: PostgresSession, keys: readonly string[]) => Promise<ReadValue[]>>
> = {
  pool: async (db, _, keys) => inOrder(keys, (await db.pool.query(READ, [keys])).rows),
  session: async (_, session, keys) => inOrder(keys, (await session.query<Item>(READ, [keys], { timeoutMs: TIMEOUT_MS })).rows),
  transaction: (_, session, keys) =>
    session.transaction(
      async transaction => {
        const values: ReadValue[] = []
        for (const key of keys) values.push([key, (await transaction.query<Item>(READ_ONE, [key])).rows[0]?.value ?? null])
        return values
      },
      { readOnly: true, isolationLevel: 'repeatable read', timeoutMs: TIMEOUT_MS },
    ),
}

/**
 * Resolves to what each write replaced. Several together are a transaction, always in the order of their keys, so that no two wait
 * for each other.
 *
 * What a write replaced shows its author whether an earlier one was lost, and yet it is no read: a transaction on the primary does not
 * tell of losses, the next single read does. So clients do not take it for one.
 */
export async function writeAll(
  db: Tidemark,
  session: PostgresSession,
  writes: readonly (readonly [key: string, value: string])[],
  way: WorkRequest['way'],
): Promise<(string | null)[]> {
  const [only] = writes
  if (writes.length > 1 || way === 'transaction') {
    return session.transaction(
      async transaction => {
        const replaced: (string | null)[] = []
        for (const write of writes) replaced.push((await transaction.query(WRITE, write)).rows[0]!.prev)
        return replaced
      },
      { timeoutMs: TIMEOUT_MS },
    )
  }
  const { rows } =
    way === 'pool' ? await db.pool.query(WRITE, [...only!]) : await session.query(WRITE, only, { timeoutMs: TIMEOUT_MS })
  return [rows[0]!.prev]
}

function inOrder(keys: readonly string[], rows: readonly Item[]): ReadValue[] {
  const values = new Map(rows.map(({ key, value }) => [key, value]))
  return keys.map(key => [key, values.get(key) ?? null])
}
