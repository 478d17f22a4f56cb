/** What the failover tests share: hangs that fail, events that are collected, and authors who read what they wrote. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { PostgresSession, Tidemark } from '../../src/engines/postgres/index.js'
import type { Events } from '../../src/index.js'

/** Far beyond every budget and time-out in play: whoever has not settled by then hangs. Says nothing about speed. */
const HANGS_MS = 15_000

export async function settled<T>(work: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const hangs = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new HangError(what)), HANGS_MS)
  })
  try {
    return await Promise.race([work, hangs])
  } finally {
    clearTimeout(timer)
  }
}

export class HangError extends Error {
  constructor(what: string) {
    super(`hangs: ${what}`)
  }
}

/** What `work` fails with. */
export async function failure(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => undefined,
    (error: unknown) => error,
  )
}

export interface Collected<K extends keyof Events> extends Disposable {
  readonly messages: Events[K][]
}

export function collect<K extends keyof Events>(name: K): Collected<K> {
  const messages: Events[K][] = []
  const listener = (message: unknown) => void messages.push(message as Events[K])
  subscribe(name, listener)
  return { messages, [Symbol.dispose]: () => void unsubscribe(name, listener) }
}

export interface Tally {
  writes: number
  /** Reads that were served. */
  reads: number
  /** By node. */
  readonly nodes: Record<string, number>
  /** Reads that showed less than was acknowledged, without saying so. Must stay empty. */
  readonly violations: string[]
  /** Losses that were told. */
  told: number
  /** Unfenced reads that showed less: what fenced ones would do, were they not fenced. */
  unfenced: number
  readonly errors: unknown[]
  readonly hangs: string[]
}

/** Authors who write and read back until `stop`, whatever fails. */
export interface Load {
  readonly tally: Tally
  stop(): Promise<Tally>
}

/** The table is `counters (author text, n int)`. */
export function load(db: Tidemark, authors: number, name: string): Load {
  const tally: Tally = { writes: 0, reads: 0, nodes: {}, violations: [], told: 0, unfenced: 0, errors: [], hangs: [] }
  const state = { stopped: false }
  const working = Array.from({ length: authors }, (_, i) => new Author(db, `${name} ${i}`, tally).work(state))
  return {
    tally,
    async stop() {
      state.stopped = true
      await Promise.all(working)
      return tally
    },
  }
}

const LATEST = 'SELECT coalesce(max(n), 0)::int AS n FROM counters WHERE author = $1'
const SAVE = 'INSERT INTO counters (author, n) VALUES ($1, $2)'

class Author {
  readonly #db: Tidemark
  readonly #name: string
  readonly #tally: Tally
  readonly #session: PostgresSession
  /** The newest write that was acknowledged. */
  #acknowledged = 0

  constructor(db: Tidemark, name: string, tally: Tally) {
    this.#db = db
    this.#name = name
    this.#tally = tally
    this.#session = db.session()
  }

  async work(state: { readonly stopped: boolean }): Promise<void> {
    for (let n = 1; !state.stopped; n++) {
      await this.#attempt('a write', () => this.#write(n))
      await this.#attempt('a read', () => this.#read())
      await this.#attempt('an unfenced read', () => this.#readUnfenced())
      // Failures may come back at once; others must get their turn.
      await new Promise(resolve => setImmediate(resolve))
    }
  }

  async #attempt(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await settled(work(), `${what} of ${this.#name}`)
    } catch (error) {
      if (error instanceof HangError) this.#tally.hangs.push(error.message)
      else if (this.#tally.errors.length < 1_000) this.#tally.errors.push(error)
    }
  }

  async #write(n: number): Promise<void> {
    await this.#session.query(SAVE, [this.#name, n])
    this.#acknowledged = n
    this.#tally.writes++
  }

  async #read(): Promise<void> {
    const { rows } = await this.#session.query<{ n: number }>(LATEST, [this.#name])
    const shown = rows[0]!.n
    const { node, possiblyLost } = this.#session.lastOutcome!
    this.#tally.reads++
    this.#tally.nodes[node] = (this.#tally.nodes[node] ?? 0) + 1
    if (shown >= this.#acknowledged) return
    if (!possiblyLost) this.#tally.violations.push(`${this.#name} on ${node}: ${shown} and not ${this.#acknowledged}`)
    this.#tally.told++
    this.#acknowledged = shown
  }

  async #readUnfenced(): Promise<void> {
    const { rows } = await this.#db.eventual.query<{ n: number }>(LATEST, [this.#name])
    if (rows[0]!.n < this.#acknowledged) this.#tally.unfenced++
  }
}
