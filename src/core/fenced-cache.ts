/**
 * A shared cache with fences, over any key-value store that can compare and set.
 *
 * **The race.** A writer commits and invalidates the key. A reader who missed the cache just before reads from a replica
 * that has not applied the commit, and fills the cache with the old value *after* the invalidation. From then on everybody
 * gets the old value, for as long as entries live, the writer included.
 *
 * **Why deleting on invalidation fails**: nothing is left that the late fill could be held against. Nor does a short second
 * deletion help: a replica may be behind for longer.
 *
 * **Why this is sound.** Every entry carries a position that its value was read at, a lower bound. An invalidation leaves
 * a tombstone with the position of the write. A fill, or another invalidation, replaces what is there only if its position
 * includes that one, by compare-and-set, so two of them cannot cross. So a value read from behind the invalidation never
 * enters. Positions are in a partial order, so an invalidation may neither include what is there nor be included, where there are
 * several logs: what it leaves is the join of both, for what had to include the one must still include it. A session takes an entry only if its position includes everything that this session's read must see, so its own
 * later write always beats the cache, also when the invalidation never got through.
 *
 * **Why a tombstone may expire.** It lives for `tombstoneMs`, and a value is cached only if the node it was read from was less
 * than half of that behind the primary (on the router's own clock): that node has applied every write whose tombstone
 * is gone. Half, since the store's clock and the router's run at nearly, not exactly, the same pace.
 */

import { bounded } from './bounded.js'
import type { CacheStore } from './cache-store.js'
import { checkNumber, MAX_TIMER_MS } from './check-number.js'
import { type Clock, systemClock } from './clock.js'
import { ConfigurationError } from './errors.js'
import { type Events, publish } from './events.js'
import { allWrites, neededBy } from './history.js'
import { Position } from './position.js'
import { scopeIds } from './scope.js'
import type { Session } from './session.js'
import { shown } from './shown.js'

/** A session that can be forked: what an engine's sessions are. */
export interface CachingSession extends Session {
  fork(): CachingSession
}

export interface FencedCacheOptions {
  /** A value lives for this long at most. Default 60 000. */
  readonly ttlMs?: number
  /** Each value lives shorter by a random part of its time, up to this share, so that not all end at once. Default 0.1. */
  readonly jitter?: number
  /** How long an invalidation is remembered. Default 600 000. */
  readonly tombstoneMs?: number
  /** The store is waited for at most this long; then it counts as failed. Default 250. */
  readonly storeTimeoutMs?: number
  /** At most this many loads under way at once; beyond it everybody loads for himself. Default 10 000. */
  readonly maxLoads?: number
  readonly clock?: Clock
}

export interface CacheReadOptions {
  /** What the value depends on, and nothing else: writes of other scopes then do not make it too old. */
  readonly scope?: string | readonly string[]
}

export interface FencedCache {
  /**
   * The value behind `key`: from the cache if that is new enough for this session, or what `load` gives. `load` must read
   * through the session that it is given, and only through that one: this is how the cache learns what the value was read
   * at. Values are kept as JSON. A store that fails costs what it would have saved, never the read.
   */
  get<T, S extends CachingSession>(
    session: S,
    key: string,
    load: (session: S) => Promise<T>,
    options?: CacheReadOptions,
  ): Promise<T>
  /**
   * To be called after a write of `session` that changes what `key` stands for has committed. Resolves to false, with a
   * warning event, when the store failed: others may then get the old value until its time is up; this session does not.
   */
  invalidate(session: Session, key: string): Promise<boolean>
}

/** What is kept under a key. A tombstone has no `value`; one without a position holds against every fill. */
interface Entry {
  readonly at: readonly (readonly [lineage: string, offset: string])[] | null
  readonly value?: unknown
}

interface Load {
  readonly needed: Position
  readonly loaded: Promise<Loaded>
}

interface Loaded {
  readonly value: unknown
  /** A read of it gave less than its session had asked for: by a rung of its own ladder, which others have not chosen. */
  readonly gaveLess: boolean
}

const MAX_TRIES = 8

export function fencedCache(store: CacheStore, options: FencedCacheOptions = {}): FencedCache {
  const { ttlMs = 60_000, jitter = 0.1, tombstoneMs = 600_000, storeTimeoutMs = 250, maxLoads = 10_000 } = options
  const { clock = systemClock } = options
  const areNumbers = [ttlMs, tombstoneMs, jitter].every(each => typeof each === 'number')
  if (!areNumbers || !(ttlMs > 0) || !(tombstoneMs > 0) || !(jitter >= 0 && jitter < 1)) {
    throw new ConfigurationError(
      `fencedCache needs ttlMs and tombstoneMs greater than 0, and jitter from 0 to less than 1; not ${shown(ttlMs)}, ${shown(tombstoneMs)} and ${shown(jitter)}`,
    )
  }
  checkNumber('fencedCache: storeTimeoutMs', storeTimeoutMs, { min: 0, max: MAX_TIMER_MS })
  checkNumber('fencedCache: maxLoads', maxLoads, { min: 0 })
  const loads = new Map<string, Load>()

  /** A store that fails or hangs costs at most its time-out, and what it would have saved. */
  async function attempt<T>(db: string, what: string, work: () => Promise<T>): Promise<{ readonly value: T } | undefined> {
    const settled = await bounded(clock, storeTimeoutMs, work)
    if ('value' in settled) return settled
    publish('tidemark:warning', () => ({ db, message: `the store of a fenced cache failed (${what})`, cause: settled.cause }))
    return undefined
  }

  async function get<T, S extends CachingSession>(
    session: S,
    key: string,
    load: (session: S) => Promise<T>,
    { scope }: CacheReadOptions = {},
  ): Promise<T> {
    // What nothing bounds, no entry is new enough for, and a write that may be lost is to be told of by a read; nothing bounds
    // what an entry may have shown.
    const { db } = session
    const tell = (result: Events['tidemark:cache']['result']) =>
      publish('tidemark:cache', () => ({ db, cache: 'fenced', result }))
    if (!(await session.ready()) || session.guarantee === 'monotonic-reads') {
      tell('bypassed')
      return load(session)
    }
    const needed = neededBy(session.history, session.guarantee, scopeIds(scope))
    const found = await attempt(db, 'get', () => store.get(key))
    const entry = found?.value === undefined ? undefined : parse(found.value)
    const hasValue = entry !== undefined && 'value' in entry
    const serves = hasValue && positionOf(entry)?.includes(needed) === true
    tell(found === undefined ? 'failed' : serves ? 'hit' : hasValue ? 'refused' : 'miss')
    if (serves) return entry.value as T
    return once(key, needed, async () => {
      const reader = session.fork() as S
      const before = reader.history
      try {
        const value = await load(reader)
        if (found !== undefined) await fill(key, value, reader)
        return { value, gaveLess: reader.gaveLess }
      } finally {
        // Also when it failed: what it was told to be lost, this session has been told.
        session.reconcile(reader, before)
      }
    }) as Promise<T>
  }

  /** Whoever needs no more than the load under way is sure to see waits for it. */
  async function once(key: string, needed: Position, load: () => Promise<Loaded>): Promise<unknown> {
    const running = loads.get(key)
    if (running?.needed.includes(needed)) {
      // Whoever began it may have failed by a deadline or a rung of his own: that is nobody else's failure.
      const { value, gaveLess } = await running.loaded.catch(load)
      return gaveLess ? (await load()).value : value
    }
    return (await begin(key, needed, load, running)).value
  }

  function begin(key: string, needed: Position, load: () => Promise<Loaded>, running: Load | undefined): Promise<Loaded> {
    const own = { needed, loaded: load() }
    if (loads.size >= maxLoads && running === undefined) return own.loaded
    loads.set(key, own)
    const done = () => {
      if (loads.get(key) === own) loads.delete(key)
    }
    own.loaded.then(done, done)
    return own.loaded
  }

  async function fill(key: string, value: unknown, reader: CachingSession): Promise<void> {
    const { readAt, readStaleMs } = reader
    // Read from a node of which nothing is proven, or too far behind for the tombstones: not to be shared.
    if (readAt === undefined || readStaleMs > tombstoneMs / 2) return
    const next = (present: Entry | undefined) => {
      if (present === undefined) return { at: entriesOf(readAt), value }
      const there = positionOf(present)
      return there !== undefined && readAt.includes(there) ? { at: entriesOf(readAt), value } : undefined
    }
    await replace(reader.db, key, ttlMs * (1 - jitter * clock.random()), next)
  }

  async function invalidate(session: Session, key: string): Promise<boolean> {
    const { uncertain } = session.history
    const position = uncertain ? undefined : allWrites(session.history)
    const next = async (present: Entry | undefined) => {
      if (position === undefined) return { at: null }
      if (present === undefined) return { at: entriesOf(position) }
      const there = positionOf(present)
      if (there === undefined || there.includes(position)) return undefined
      return { at: entriesOf(position.join(await session.keptOf(there))) }
    }
    return (await replace(session.db, key, tombstoneMs, next)) !== undefined
  }

  /** False: what is there stays, which is what `next` gives nothing for. `undefined`: the store failed, or others kept coming in between. */
  async function replace(
    db: string,
    key: string,
    lifeMs: number,
    next: (present: Entry | undefined) => Entry | undefined | Promise<Entry | undefined>,
  ): Promise<boolean | undefined> {
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const found = await attempt(db, 'get', () => store.get(key))
      if (found === undefined) return undefined
      const entry = await next(found.value === undefined ? undefined : parse(found.value))
      if (entry === undefined) return false
      const text = JSON.stringify(entry)
      const set = await attempt(db, 'compareAndSet', () => store.compareAndSet(key, found.value, text, lifeMs))
      if (set === undefined) return undefined
      if (set.value) return true
    }
    return undefined
  }

  return { get, invalidate }
}

function entriesOf(position: Position): (readonly [string, string])[] {
  return position.entries.map(({ lineage, offset }) => [lineage, String(offset)] as const)
}

function positionOf({ at }: Entry): Position | undefined {
  return at === null ? undefined : Position.of(at.map(([lineage, offset]) => ({ lineage, offset: BigInt(offset) })))
}

/** What cannot be read is as good as nothing, and is overwritten. */
function parse(text: string): Entry | undefined {
  try {
    const entry = JSON.parse(text) as Entry
    if (entry === null || typeof entry !== 'object') return undefined
    positionOf(entry)
    return entry
  } catch {
    return undefined
  }
}
