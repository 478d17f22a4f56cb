/** An application that writes and reads what it wrote, for as long as it is let, whatever becomes of the servers. */
import type { Tidemark } from '../../src/engines/postgres/index.js'
import { until } from '../support/database.js'

/** The row says itself where it was written, and in which history. */
export const TABLE = 'CREATE TABLE notes (id int PRIMARY KEY, port int, timeline int)'
const SAVE = `INSERT INTO notes VALUES ($1, inet_server_port(), ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int)
  RETURNING id, port, timeline`
const FIND = 'SELECT id, port, timeline FROM notes WHERE id = $1'

const PAUSE_MS = 5

/** A row as it was returned by the statement that wrote it. */
export interface Note {
  readonly id: number
  readonly port: number
  readonly timeline: number
}

/** A write whose success the application was told. */
export interface Acknowledged {
  readonly note: Note
  readonly token: string
  readonly at: number
}

export class Application {
  readonly acknowledged: Acknowledged[] = []
  /** What the writes failed with that did. */
  readonly failures: { readonly code: string; readonly at: number }[] = []
  /** Reads that broke the promise: the row was not there, and nobody said that it may be lost. */
  readonly broken: Acknowledged[] = []
  /** Writes that were reported lost by the read right after them. */
  readonly reported: Acknowledged[] = []
  lastId = 0
  readonly #db: Tidemark
  #running = true
  readonly #ended: Promise<void>

  constructor(db: Tidemark) {
    this.#db = db
    this.#ended = this.#run()
  }

  /** Resolves when it has gone on to be told of `count` successes from now on. */
  async goesOn(count = 20, timeoutMs = 60_000): Promise<void> {
    const before = this.acknowledged.length
    await until(() => this.acknowledged.length >= before + count, 'the application goes on writing', timeoutMs).catch(error => {
      throw new Error(`${error.message}; the last write failed with: ${this.failures.at(-1)?.code ?? 'none did'}`)
    })
  }

  /** The longest time without a success after the one at `from`, in milliseconds. */
  longestGap(from: number): number {
    const times = this.acknowledged.slice(from).map(({ at }) => at)
    return Math.max(...times.slice(1).map((at, i) => at - times[i]!))
  }

  async stop(): Promise<void> {
    this.#running = false
    await this.#ended
  }

  async #run(): Promise<void> {
    while (this.#running) {
      await this.#once().catch((error: Error & { code?: string }) => {
        this.failures.push({ code: error.code ?? error.message, at: performance.now() })
      })
      await new Promise(resolve => setTimeout(resolve, PAUSE_MS))
    }
  }

  async #once(): Promise<void> {
    const session = this.#db.session()
    const note = (await session.query<Note & Record<string, unknown>>(SAVE, [++this.lastId])).rows[0]!
    const told = { note, token: session.token()!, at: performance.now() }
    this.acknowledged.push(told)
    // Another request of the same user, which carries the token.
    const found = await read(this.#db, told).catch(() => undefined)
    if (found?.possiblyLost) this.reported.push(told)
    else if (found !== undefined && !found.isThere) this.broken.push(told)
  }
}

/** What a new session that carries the token of a write gets to see of it. */
export async function read(db: Tidemark, { note, token }: Acknowledged) {
  const session = db.session(token)
  const { rows } = await session.query(FIND, [note.id])
  const { node, guarantee, possiblyLost } = session.lastOutcome!
  return { isThere: rows.length === 1, node, guarantee, possiblyLost }
}

/** One after the other: what only the primary may serve is served within its bound. */
export async function readAll(db: Tidemark, written: readonly Acknowledged[]) {
  const seen: Awaited<ReturnType<typeof read>>[] = []
  for (const each of written) seen.push(await read(db, each))
  return seen
}
