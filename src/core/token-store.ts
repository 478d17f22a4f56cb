import { LRUCache } from 'lru-cache'
import { Position } from './position.js'

/**
 * Where the newest write position of each known user is kept, so that a device that carries no token (or an old one) still sees
 * what another device wrote.
 *
 * Both methods may fail; a caller then falls back to the primary, and a write is never failed because of it.
 */
export interface TokenStore {
  /**
   * Joins `position` to what is kept: the store never goes back, whatever order calls arrive in. In the same step it
   * drops what `settled` includes: positions in a history that the cluster has left, of which the user has been told
   * (after a failover). Kept for ever they would be told again at every request.
   */
  raise(user: string, position: Position, settled?: Position): Promise<void>
  /** `undefined`: nothing is known of this user, which is not the same as "has not written". */
  get(user: string): Promise<Position | undefined>
  expire?(applied: Position): Promise<void>
}

export interface MemoryTokenStoreOptions {
  /** At most this many users; the least recently used is forgotten, and then goes to the primary first. Default 100 000. */
  readonly maxUsers?: number
}

/**
 * Keeps positions in this process. Right for one process only: with several, a user's write may have been taken by
 * another one, and what this store says would be too old. Use a shared store then, or none (a known user without a token
 * goes to the primary first).
 */
export function memoryTokenStore(options: MemoryTokenStoreOptions = {}): TokenStore {
  const users = new LRUCache<string, Position>({ max: options.maxUsers ?? 100_000 })
  return {
    async raise(user, position, settled = Position.zero) {
      const kept = users.get(user)?.without(settled) ?? Position.zero
      users.set(user, kept.join(position))
    },
    async get(user) {
      return users.get(user)
    },
  }
}
