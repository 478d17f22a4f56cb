/** Stores that all routers share and that fail when told to: at once, by never answering, or by being slow. */
import { type CacheStore, memoryCacheStore } from '../../core/cache-store.js'
import type { TokenStore } from '../../core/token-store.js'

export type Trouble = 'fails' | 'hangs' | 'slow'

/** Long enough to matter, and shorter than what routers wait for a store. */
const SLOW_MS = 40
/** Less: what is being stored may be asked for, and not found. */
export const SLOW_GET_MS = 10

/** Lets virtual time pass. */
export type Sleep = (ms: number) => Promise<void>

/** What one kind of call of a store goes through. */
export class Flakiness {
  readonly #sleep: Sleep
  readonly #slowMs: number
  trouble: Trouble | undefined

  constructor(sleep: Sleep, slowMs = SLOW_MS) {
    this.#sleep = sleep
    this.#slowMs = slowMs
  }

  async through<T>(work: () => Promise<T>): Promise<T> {
    // Where one process asks another there is always some time between question and answer.
    await this.#sleep(this.trouble === 'slow' ? this.#slowMs : 1)
    if (this.trouble === 'fails') throw new Error('the store is down')
    if (this.trouble === 'hangs') return new Promise<never>(() => {})
    return work()
  }
}

/** `gets` and `raises` may fail by themselves. */
export function flakyTokenStore(store: TokenStore, gets: Flakiness, raises: Flakiness): TokenStore {
  return {
    get: user => gets.through(() => store.get(user)),
    raise: (user, position, settled) => raises.through(() => store.raise(user, position, settled)),
    expire: applied => gets.through(async () => store.expire?.(applied)),
  }
}

export function flakyCacheStore(store: CacheStore, flakiness: Flakiness): CacheStore {
  return {
    get: key => flakiness.through(() => store.get(key)),
    compareAndSet: (key, expected, value, ttlMs) => flakiness.through(() => store.compareAndSet(key, expected, value, ttlMs)),
  }
}

/** More than there are keys. */
const MAX_ENTRIES = 64

/** A cache store that can lose all that it has. */
export class ForgetfulCacheStore implements CacheStore {
  readonly #now: () => number
  #store: CacheStore

  constructor(now: () => number) {
    this.#now = now
    this.#store = memoryCacheStore({ now, maxEntries: MAX_ENTRIES })
  }

  forget(): void {
    this.#store = memoryCacheStore({ now: this.#now, maxEntries: MAX_ENTRIES })
  }

  get(key: string): Promise<string | undefined> {
    return this.#store.get(key)
  }

  compareAndSet(key: string, expected: string | undefined, value: string, ttlMs: number): Promise<boolean> {
    return this.#store.compareAndSet(key, expected, value, ttlMs)
  }
}
