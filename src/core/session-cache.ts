/**
 * The write-through session cache: an author's own values, for as long as no replica has them.
 *
 * **Isolation** (rule 9). Entries are kept by author: the user, or for anonymous sessions an object that only the session
 * and its forks hold. There is no way from one author's key to another's value.
 *
 * **Why an entry may serve.** It carries the position of the write that it shows. It serves a read only if that position
 * includes everything which that read must see; a later write of the same author, which may have changed the value behind
 * the key, makes it useless unless that write was of another scope.
 */
import { LRUCache } from 'lru-cache'
import { checkNumber, MAX_ENTRIES } from './check-number.js'
import type { Position } from './position.js'
import { RecentMap } from './recent-map.js'

export interface CacheEntry {
  readonly rows: readonly Record<string, unknown>[]
  /** The value is what it was at this position. */
  readonly position: Position
  /** Everything that it shows is included here. `undefined`: not known, and no monotonic reads are served by it. */
  readonly bound?: Position | undefined
  /** On the router's clock. */
  readonly storedAt: number
}

/** Whose cache it is. */
export type Author = string | object

export interface SessionCacheLimits {
  /** Authors whose values are kept; the least recently used go first. Default 1 000. */
  readonly maxSessions?: number
  /** Values of one author; the least recently used go first. Default 100. */
  readonly maxEntries?: number
}

/** A load under way, for all who want the same value. */
export interface Load<R> {
  readonly needed: Position
  readonly result: Promise<R>
}

/** A write under way whose value is to be kept. */
export interface Turn {
  readonly author: Author
  readonly key: string
  /** How many writes of the author had been captured when it was sent. */
  readonly after: number
}

interface OwnCache {
  writes: number
  readonly entries: RecentMap<string, CacheEntry>
  readonly loads: Map<string, Load<unknown>>
}

/** The caches of all sessions of one database. */
export class SessionCaches {
  readonly #byAuthor: LRUCache<Author, OwnCache>
  readonly #maxEntries: number

  constructor(limits: SessionCacheLimits = {}) {
    const { maxSessions = 1_000, maxEntries = 100 } = limits
    checkNumber('sessionCache: maxSessions', maxSessions, { integer: true, min: 1, max: MAX_ENTRIES })
    checkNumber('sessionCache: maxEntries', maxEntries, { integer: true, min: 1, max: MAX_ENTRIES })
    this.#byAuthor = new LRUCache({ max: maxSessions })
    this.#maxEntries = maxEntries
  }

  get(author: Author, key: string): CacheEntry | undefined {
    return this.#byAuthor.get(author)?.entries.get(key)
  }

  /** Keeps the later of what is there and `entry`: a slow refresh must not undo a newer write. */
  put(author: Author, key: string, entry: CacheEntry): void {
    const { entries } = this.#of(author)
    const known = entries.peek(key)
    if (known === undefined || entry.position.includes(known.position)) entries.set(key, entry)
    else if (!known.position.includes(entry.position)) entries.delete(key)
  }

  /** Before a write whose value is to be kept is sent. */
  begin(author: Author, key: string): Turn {
    return { author, key, after: this.#of(author).writes }
  }

  /**
   * Whether no other write of the author has been captured since. A position is captured after its write has committed, so
   * it may include another write of the same author that came in between, whose value this one's is not.
   */
  isAlone({ author, after }: Turn): boolean {
    return this.#of(author).writes === after
  }

  /** A write of the author was captured: what is kept as of a position that includes it may lack it. */
  wrote(author: Author, position: Position | undefined): void {
    const own = this.#byAuthor.peek(author)
    if (own === undefined) return
    own.writes++
    for (const [key, entry] of [...own.entries.entries()]) {
      if (position === undefined || entry.position.includes(position)) own.entries.delete(key)
    }
  }

  delete(author: Author, key: string): void {
    this.#byAuthor.peek(author)?.entries.delete(key)
  }

  /**
   * One load for many waiters: joins the load under way if that one is sure to see what `needed` asks for; begins another
   * otherwise.
   */
  loadOnce<R>(author: Author, key: string, needed: Position, load: () => Promise<R>): Promise<R> {
    const { loads } = this.#of(author)
    const running = loads.get(key)
    // Whoever began it may have failed by a deadline or a rung of his own: that is nobody else's failure.
    if (running?.needed.includes(needed)) return (running.result as Promise<R>).catch(load)
    const result = load()
    const own = { needed, result }
    loads.set(key, own)
    const done = () => {
      if (loads.get(key) === own) loads.delete(key)
    }
    result.then(done, done)
    return result
  }

  #of(author: Author): OwnCache {
    const known = this.#byAuthor.get(author)
    if (known !== undefined) return known
    const created = { writes: 0, entries: new RecentMap<string, CacheEntry>(this.#maxEntries), loads: new Map() }
    this.#byAuthor.set(author, created)
    return created
  }
}
