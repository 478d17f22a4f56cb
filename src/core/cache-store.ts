import { LRUCache } from 'lru-cache'
import { checkNumber, MAX_ENTRIES } from './check-number.js'
import { systemClock } from './clock.js'

/**
 * A key-value store with compare-and-set, for a cache that several processes may share.
 *
 * It may forget any entry at any time. It knows nothing of freshness: `ttlMs` bounds how long an entry takes up room, and whether
 * a value is fresh enough for a reader is for the cache above to decide, from the position inside the value. That way a store
 * that comes back with old values (a failover of its own) is no danger either.
 *
 * Every method may reject. After a rejected `compareAndSet` it is not known whether the value was set.
 */
export interface CacheStore {
  /** The value now under `key`; `undefined`: there is none, or it has expired. */
  get(key: string): Promise<string | undefined>
  /**
   * Sets `value` for `ttlMs` milliseconds (more than 0) if what is there now is still `expected` (`undefined`: nothing there, or expired).
   * True when it was set. Atomic: of concurrent calls that expect the same, at most one sets a value of its own.
   * Rejects with `ConfigurationError` when `ttlMs` is not a positive number.
   */
  compareAndSet(key: string, expected: string | undefined, value: string, ttlMs: number): Promise<boolean>
}

export interface MemoryCacheStoreOptions {
  /** At most this many entries; the least recently used is forgotten. Default 10 000. */
  readonly maxEntries?: number
  /** Monotonic milliseconds, for `ttlMs`. Default: the clock of this process. */
  readonly now?: () => number
}

/**
 * A cache store in this process, shared by nothing else. Throws `ConfigurationError` when `maxEntries` is not a positive whole number.
 */
export function memoryCacheStore(options: MemoryCacheStoreOptions = {}): CacheStore {
  const { maxEntries = 10_000, now = systemClock.now } = options
  checkNumber('memoryCacheStore: maxEntries', maxEntries, { integer: true, min: 1, max: MAX_ENTRIES })
  // Resolution 0: the clock is asked at every access, or a value might be seen for a moment after its time.
  const entries = new LRUCache<string, string>({ max: maxEntries, perf: { now }, ttlResolution: 0 })
  return {
    async get(key) {
      return entries.get(key)
    },
    // Atomic because nothing is awaited between the look and the change.
    async compareAndSet(key, expected, value, ttlMs) {
      const ttl = wholeTtl(ttlMs)
      if (entries.get(key) !== expected) return false
      entries.set(key, value, { ttl })
      return true
    },
  }
}

/** `ttlMs` in whole milliseconds, at least 1. Throws `ConfigurationError` for what is not a positive number. */
export function wholeTtl(ttlMs: number): number {
  const whole = Math.ceil(ttlMs)
  checkNumber('compareAndSet: ttlMs', whole, { integer: true, min: 1 })
  return whole
}
