import type { PostgresSession, QueryOptions } from '../../engines/postgres/index.js'
import type { Client, Seen, Written } from '../path.js'
import type { Scratch } from '../scratch.js'

interface Row {
  readonly value: string
  readonly prev: string | null
}

/** How a client talks to the database: everything that queries, and the session that its outcomes are of. */
export interface Way {
  query(
    sql: string,
    values: readonly unknown[],
    options: QueryOptions | undefined,
  ): Promise<{ readonly rows: readonly unknown[] }>
  readonly session: PostgresSession
}

/** Writes and reads by `session.query`, the options those of every statement. */
export function sessionClient(session: PostgresSession, scratch: Scratch, cached = false): Client {
  const way: Way = { session, query: (sql, values, options) => session.query(sql, values, options) }
  return {
    write: (key, value) => writeBy(way, scratch, key, value, cached),
    read: key => readBy(way, scratch, key, cached),
  }
}

export async function writeBy({ query }: Way, scratch: Scratch, key: string, value: string, cached = false): Promise<Written> {
  const { rows } = await query(scratch.write, [key, value], cached ? { cache: key } : undefined)
  return { prev: (rows[0] as Row).prev }
}

export async function readBy({ query, session }: Way, scratch: Scratch, key: string, cached = false): Promise<Seen> {
  const { rows } = await query(scratch.read, [key], cached ? { cache: key } : undefined)
  return { value: (rows[0] as Row | undefined)?.value ?? null, outcome: session.lastOutcome! }
}
