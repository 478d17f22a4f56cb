import { LRUCache } from 'lru-cache'
import { checkNumber, MAX_ENTRIES } from './check-number.js'
import { systemClock } from './clock.js'
import { Position } from './position.js'

/**
 * Where the newest write position of each known user is kept, so that a device that carries no token (or an old one) still sees
 * what another device wrote.
 *
 * What is kept of a user may be forgotten as a whole at any time: the user is then unknown, reads from the primary once, and goes
 * on from there. It must never be an *older* position than was raised: that would look like knowledge and be a stale read.
 * Forgetting followed by a raise is no way back to the past either: a position that is raised was asked of the primary after the
 * write, so it includes everything that was in that log before. For the same reason a store serves one database; two
 * databases have two logs, and need two tables or prefixes.
 *
 * Every method may reject, and may take its time: callers set a limit, fall back to the primary, and never fail a write because
 * of it. After a rejected `raise` it is not known whether it was kept; both are sound, and it may be repeated.
 */
export interface TokenStore {
  /**
   * Joins `position` to what is kept: the store never goes back, whatever order calls arrive in, however many
   * processes call. In the same step it drops what `settled` includes: positions in a history that the cluster has left,
   * of which the user has been told (after a failover). Kept for ever they would be told again at every request.
   *
   * What comes out is exactly (kept without `settled`) joined with `position`, also where the two overlap.
   */
  raise(user: string, position: Position, settled?: Position): Promise<void>
  /**
   * The join of all that was raised and is not settled. `undefined`: nothing is known of this user, which is not the
   * same as "has not written".
   */
  get(user: string): Promise<Position | undefined>
  /**
   * Every replica has applied `applied`: users all of whose positions are included in it *and* who were not touched for the
   * store's `retainMs` may be forgotten. A store that keeps to a number of users by and by does so here, too.
   *
   * A position is out of date when every replica has applied it, and nothing else makes it so: never time alone. Time only
   * keeps what is still useful: a user that is forgotten goes to the primary once. Does a bounded piece of work a
   * call, so it is to be called again and again.
   */
  expire?(applied: Position): Promise<void>
}

/** Thirty days, in milliseconds: for how long stores keep positions that every replica has applied. */
export const DEFAULT_RETAIN_MS = 30 * 86_400_000

export interface MemoryTokenStoreOptions {
  /** At most this many users; the least recently used is forgotten, and then goes to the primary first. Default 100 000. */
  readonly maxUsers?: number
  /**
   * How long, in milliseconds since a user was last raised or asked for, positions are kept that every replica has
   * applied. Default 30 days.
   */
  readonly retainMs?: number
  /** Monotonic milliseconds, for `retainMs`. Default: the clock of this process. */
  readonly now?: () => number
}

interface Kept {
  readonly position: Position
  readonly touchedAt: number
}

/**
 * Keeps positions in this process. Right for one process only: with several, a user's write may have been taken by
 * another one, and what this store says would be too old. Use a shared store then (`postgresTokenStore` of `tidemark/postgres`,
 * `redisTokenStore` of `tidemark/redis-stores`), or none (a known user without a token goes to the primary first).
 *
 * Throws `ConfigurationError` when an option is out of range. Its methods never reject.
 */
export function memoryTokenStore(options: MemoryTokenStoreOptions = {}): TokenStore {
  const { maxUsers = 100_000, retainMs = DEFAULT_RETAIN_MS, now = systemClock.now } = options
  checkNumber('memoryTokenStore: maxUsers', maxUsers, { integer: true, min: 1, max: MAX_ENTRIES })
  checkNumber('memoryTokenStore: retainMs', retainMs, { min: 0 })
  const users = new LRUCache<string, Kept>({ max: maxUsers })
  const keep = (user: string, position: Position) => users.set(user, { position, touchedAt: now() })
  return {
    async raise(user, position, settled = Position.zero) {
      const raised = (users.get(user)?.position.without(settled) ?? Position.zero).join(position)
      if (raised.isZero) users.delete(user)
      else keep(user, raised)
    },
    async get(user) {
      const kept = users.get(user)
      if (kept !== undefined) keep(user, kept.position)
      return kept?.position
    },
    async expire(applied) {
      const before = now() - retainMs
      const stale: string[] = []
      // From the least recently touched on: whoever comes after one that is young enough is younger still.
      for (const user of users.rkeys()) {
        const { position, touchedAt } = users.peek(user)!
        if (touchedAt > before) break
        if (applied.includes(position)) stale.push(user)
      }
      for (const user of stale) users.delete(user)
    },
  }
}
