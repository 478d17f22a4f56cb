import { quotedTable } from './table-name.js'

/** The statements of a canary. */
export interface CanaryTable {
  readonly create: string
  /** $1 id, $2 number. One row a canary, so the table does not grow with time. Returns what `read` then would. */
  readonly write: string
  /** $1 id. */
  readonly read: string
  /** Removes the rows of canaries that have ended without doing so. */
  readonly prune: string
  /** $1 id. */
  readonly remove: string
  /** What to do about an error. */
  advice(error: unknown): string
}

export function canaryTable(table: string): CanaryTable {
  const name = quotedTable(table, 'canary: table')
  // Not unlogged: replicas would not have it.
  const create = `CREATE TABLE IF NOT EXISTS ${name} (id text PRIMARY KEY, n bigint NOT NULL, written_at timestamptz NOT NULL)`
  return {
    create,
    write: `INSERT INTO ${name} (id, n, written_at) VALUES ($1, $2, now())
      ON CONFLICT (id) DO UPDATE SET n = excluded.n, written_at = excluded.written_at RETURNING n`,
    read: `SELECT n FROM ${name} WHERE id = $1`,
    prune: `DELETE FROM ${name} WHERE written_at < now() - interval '1 day'`,
    remove: `DELETE FROM ${name} WHERE id = $1`,
    advice: error =>
      `the canary could not set up its table ${name} (${error instanceof Error ? error.message : String(error)}), and goes on trying. ` +
      `If it lacks the right, run this as a user who may, with the application's user in place of "application":\n${create};\n` +
      `GRANT SELECT, INSERT, UPDATE, DELETE ON ${name} TO "application";`,
  }
}
