import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { despiteConflicts } from './despite-conflicts.js'
import { VerifyError } from './errors.js'
import type { RawNodes } from './raw-nodes.js'

const PREFIX = 'tidemark_verify_'
/** A cluster that lags by more is of no use for this. */
const REPLICATED_WITHIN_MS = 30_000
const POLL_MS = 50
const DROP_ATTEMPTS = 3
/** PostgreSQL manual, appendix A. */
const INSUFFICIENT_PRIVILEGE = '42501'

/** The schema that a run has to itself, and the statements on the table in it. */
export class Scratch {
  readonly schema = PREFIX + randomBytes(8).toString('hex')
  /**
   * $1 key, $2 value. Returns what a read then would, and what was replaced: one statement, so nothing comes between.
   */
  readonly write: string
  /** $1 key. */
  readonly read: string
  readonly #nodes: RawNodes
  #created = false

  constructor(nodes: RawNodes) {
    this.#nodes = nodes
    const table = `${this.schema}.kv`
    this.write = `INSERT INTO ${table} AS old (key, value) VALUES ($1, $2)
      ON CONFLICT (key) DO UPDATE SET value = excluded.value, prev = old.value RETURNING value, prev`
    this.read = `SELECT value, prev FROM ${table} WHERE key = $1`
  }

  /** Creates it, and waits until every node has it. Throws {@link VerifyError} when that may not be, or takes too long. */
  async create(signal: AbortSignal): Promise<void> {
    const primary = await this.#nodes.primary()
    // Before it is known: an answer may be lost.
    this.#created = true
    const { schema } = this
    try {
      await this.#nodes.query(
        primary,
        `create schema ${schema}; create table ${schema}.kv (key text primary key, value text not null, prev text)`,
      )
    } catch (cause) {
      if ((cause as { readonly code?: unknown }).code !== INSUFFICIENT_PRIVILEGE) throw cause
      throw new VerifyError(
        'a run works in a schema of its own, and this user may not create one. Run as the owner of the database: GRANT CREATE ON DATABASE … TO …;',
        { cause },
      )
    }
    await this.#replicated(signal)
  }

  /** Those that killed runs left. */
  async leftOvers(): Promise<readonly string[]> {
    const sql = `select nspname::text as name from pg_namespace where starts_with(nspname::text, $1) and nspname <> $2 order by 1`
    return (await this.#nodes.query<{ name: string }>(await this.#nodes.primary(), sql, [PREFIX, this.schema])).map(
      ({ name }) => name,
    )
  }

  /** What is under every key. */
  async everything(): Promise<ReadonlyMap<string, string>> {
    const sql = `select key, value from ${this.schema}.kv`
    const rows = await this.#nodes.query<{ key: string; value: string }>(await this.#nodes.primary(), sql)
    return new Map(rows.map(({ key, value }) => [key, value]))
  }

  /** Drops it, if it was created, from whichever node is the primary by now. Throws {@link VerifyError} when it stays. */
  async drop(): Promise<void> {
    if (!this.#created) return
    const statement = `drop schema if exists ${this.schema} cascade`
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#nodes.query(await this.#nodes.primary(), statement)
        return
      } catch (cause) {
        if (attempt < DROP_ATTEMPTS) continue
        const reason = cause instanceof Error ? cause.message : String(cause)
        throw new VerifyError(`the schema ${this.schema} could not be dropped (${reason}). Run on the primary: ${statement};`, {
          cause,
        })
      }
    }
  }

  async #replicated(signal: AbortSignal): Promise<void> {
    const deadline = performance.now() + REPLICATED_WITHIN_MS
    const sql = 'select to_regclass($1) is not null as there'
    for (const node of this.#nodes.names) {
      for (;;) {
        const [row] = await despiteConflicts(() => this.#nodes.query<{ there: boolean }>(node, sql, [`${this.schema}.kv`]))
        if (row!.there) break
        signal.throwIfAborted()
        if (performance.now() > deadline) {
          throw new VerifyError(
            `${node} had not applied a new table after ${REPLICATED_WITHIN_MS / 1_000} s. Does it replicate from this primary, and is its replay paused?`,
          )
        }
        await sleep(POLL_MS, undefined, { signal })
      }
    }
  }
}
