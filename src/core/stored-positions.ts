/**
 * A token store as the sessions of one process use it: bounded in time, and never the reason why a query fails.
 *
 * A write whose position could not be stored is acknowledged all the same: the store is down, the database is not. While
 * it is down every look-up fails, so every reader goes to the primary. What would be wrong is the moment after: the store
 * answers again, and does not know of that write. So what could not be stored is kept here, answers look-ups of this
 * process, and is stored as soon as the store takes it.
 */
import { bounded } from './bounded.js'
import type { Clock, Timer } from './clock.js'
import { DEFAULT_NAME, publish } from './events.js'
import { Position } from './position.js'
import { RecentMap } from './recent-map.js'
import type { TokenStore } from './token-store.js'

/** Users whose positions wait to be stored; beyond it the oldest is given up, with a warning. */
const MAX_UNSTORED = 10_000
const RETRY_MS = 250
const RETRY_BATCH = 100

interface Unstored {
  readonly position: Position
  readonly settled: Position
}

export class StoredPositions {
  readonly #store: TokenStore
  readonly #clock: Clock
  readonly #timeoutMs: number
  readonly #db: string
  readonly #unstored = new RecentMap<string, Unstored>(MAX_UNSTORED, () =>
    this.#warn('raise', new Error(`more than ${MAX_UNSTORED} positions wait to be stored`)),
  )
  #retry: Timer | undefined
  #closed = false

  constructor(store: TokenStore, clock: Clock, timeoutMs: number, db = DEFAULT_NAME) {
    this.#db = db
    this.#store = store
    this.#clock = clock
    this.#timeoutMs = timeoutMs
  }

  /** Settles when the store has taken it, has failed, or its time is up. Never rejects. */
  async raise(user: string, position: Position, settled = Position.zero): Promise<void> {
    const waiting = this.#unstored.get(user)
    const all = {
      position: waiting?.position.without(settled).join(position) ?? position,
      settled: waiting?.settled.join(settled) ?? settled,
    }
    if (await this.#raise(user, all)) return
    const later = this.#unstored.get(user)
    this.#unstored.set(user, {
      position: later?.position.without(settled).join(all.position) ?? all.position,
      settled: later?.settled.join(all.settled) ?? all.settled,
    })
    this.#retryLater()
  }

  /** `undefined` when the store does not know the user, or failed. Never rejects. */
  async get(user: string): Promise<Position | undefined> {
    const answer = await this.#bounded('get', () => this.#store.get(user))
    // Untyped stores say null.
    if (answer?.value == null) return undefined
    return answer.value.join(this.#unstored.get(user)?.position ?? Position.zero)
  }

  /** Every replica has applied this. Never rejects. */
  async expire(applied: Position): Promise<void> {
    const { expire } = this.#store
    if (expire !== undefined) await this.#bounded('expire', () => expire.call(this.#store, applied))
  }

  close(): void {
    this.#closed = true
    this.#retry?.cancel()
  }

  async #raise(user: string, { position, settled }: Unstored): Promise<boolean> {
    return (await this.#bounded('raise', () => this.#store.raise(user, position, settled))) !== undefined
  }

  #retryLater(): void {
    if (this.#closed || this.#retry !== undefined) return
    this.#retry = this.#clock.setTimer(() => {
      void this.#storeAgain().then(() => {
        this.#retry = undefined
        if (this.#unstored.size > 0) this.#retryLater()
      })
    }, RETRY_MS)
  }

  /** The newest first, one after the other until one fails: a store that has just come back is not to be flooded. */
  async #storeAgain(): Promise<void> {
    for (const [user, waiting] of [...this.#unstored.entries()].slice(-RETRY_BATCH).reverse()) {
      if (this.#closed || !(await this.#raise(user, waiting))) return
      if (this.#unstored.peek(user) === waiting) this.#unstored.delete(user)
    }
  }

  /** A store that is slow or down costs at most its time-out. */
  async #bounded<T>(what: string, work: () => Promise<T>): Promise<{ readonly value: T } | undefined> {
    const settled = await bounded(this.#clock, this.#timeoutMs, work)
    if ('value' in settled) return settled
    this.#warn(what, settled.cause)
    return undefined
  }

  #warn(what: string, cause: unknown): void {
    publish('tidemark:warning', () => ({ db: this.#db, message: `the token store failed (${what})`, cause }))
  }
}
