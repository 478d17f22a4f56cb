/** The shared cache: invalidated, refilled from a lagging replica; lost without fences, won with them. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { PostgresSession, Tidemark } from '../../src/engines/postgres/index.js'
import { parseLsn } from '../../src/engines/postgres/lsn.js'
import { type CacheStore, fencedCache, memoryCacheStore, primary, quorum } from '../../src/index.js'
import { type Cluster, startCluster } from '../../src/testing/index.js'
import { openDatabase } from '../support/database.js'

let cluster: Cluster
let db: Tidemark
const SAVE = 'UPDATE profiles SET name = $2 WHERE id = $1'
const NAME = 'SELECT name FROM profiles WHERE id = $1'

beforeAll(async () => {
  cluster = await startCluster({ replicas: 1 })
  await cluster.query('primary', 'CREATE TABLE profiles (id int PRIMARY KEY, name text)')
  await cluster.query('primary', "INSERT INTO profiles SELECT n, 'old' FROM generate_series(1, 20) n")
  await cluster.caughtUp()
  db = await openDatabase(cluster, { pollIntervalMs: 50 })
})
afterAll(async () => {
  await db?.close()
  await cluster?.close()
})

const load = (id: number) => async (session: PostgresSession) => (await session.query<{ name: string }>(NAME, [id])).rows[0]!.name

/** A reader who has missed the cache is held up with its value, read from the lagging replica, until the writer has invalidated. */
async function race(id: number, fill: (value: string) => Promise<unknown>, invalidate: () => Promise<unknown>): Promise<void> {
  await cluster.pause('replica-1')
  const stale = (await db.eventual.query<{ name: string }>(NAME, [id])).rows[0]!.name
  await db.session().query(SAVE, [id, 'new'])
  await invalidate()
  await fill(stale)
  await cluster.resume('replica-1')
}

describe('the classical race: invalidate, then a late refill from a lagging replica', () => {
  test('is lost without fences: everybody, the author included, gets the old value', async () => {
    const store = memoryCacheStore()
    await race(
      1,
      async value => store.compareAndSet('1', await store.get('1'), value, 60_000),
      async () => store.compareAndSet('1', await store.get('1'), '', 1),
    )
    expect(await store.get('1')).toBe('old')
  })

  test('is won with them: what was read behind the invalidation never enters', async () => {
    const store = memoryCacheStore()
    const cache = fencedCache(store)
    await cluster.pause('replica-1')
    try {
      const author = db.session()
      const reader = db.session()
      let readOld = () => {}
      let mayFill = () => {}
      const hasRead = new Promise<void>(resolve => {
        readOld = resolve
      })
      const invalidated = new Promise<void>(resolve => {
        mayFill = resolve
      })
      const late = cache.get(reader, '2', async session => {
        const value = await load(2)(session)
        readOld()
        await invalidated
        return value
      })
      await hasRead
      await author.query(SAVE, [2, 'new'])
      expect(await cache.invalidate(author, '2')).toBe(true)
      mayFill()
      // The reader has no fence: the old value is right for it. What matters is what it leaves behind.
      expect(await late).toBe('old')
      expect(await store.get('2')).not.toContain('old')
      expect(await cache.get(author, '2', load(2))).toBe('new')
      // Nor does any later reader of the lagging replica put it there.
      for (let i = 0; i < 5; i++) await cache.get(db.session(), '2', load(2))
      expect(await cache.get(db.session(author.token()), '2', load(2))).toBe('new')
      expect(await store.get('2')).not.toContain('old')
    } finally {
      await cluster.resume('replica-1')
      await cluster.caughtUp()
    }
  })

  test('once the replica has caught up, the value is shared again and costs no read', async () => {
    const cache = fencedCache(memoryCacheStore())
    const author = db.session()
    await author.query(SAVE, [3, 'new'])
    await cache.invalidate(author, '3')
    await cluster.caughtUp()
    expect(await cache.get(author, '3', load(3))).toBe('new')
    const unread = () => Promise.reject(new Error('was to come from the cache'))
    await expect
      .poll(() => cache.get(db.session(), '3', load(3)).then(() => cache.get(author, '3', unread).catch(() => '')), {
        timeout: 10_000,
      })
      .toBe('new')
  })
})

test('a session with a later fence does not take an entry that was read before its write, also without an invalidation', async () => {
  const cache = fencedCache(memoryCacheStore())
  await cluster.caughtUp()
  await cache.get(db.session(), '4', load(4))
  const author = db.session()
  await author.query(SAVE, [4, 'new'])
  expect(await cache.get(author, '4', load(4))).toBe('new')
  // With a scope, a write of something else does not make the entry too old.
  const other = db.session()
  await cache.get(other, '5', load(5))
  await other.query(SAVE, [6, 'new'], { scope: 'profile:6' })
  const unread = () => Promise.reject(new Error('was to come from the cache'))
  expect(await cache.get(other, '5', unread, { scope: 'profile:5' })).toBe('old')
  await expect(cache.get(other, '5', unread)).rejects.toThrow('was to come from the cache')
})

test('many waiters are one load, but never one that would see too little', async () => {
  const cache = fencedCache(memoryCacheStore())
  let loads = 0
  const counted = async (session: PostgresSession) => {
    loads++
    return load(7)(session)
  }
  await Promise.all(Array.from({ length: 50 }, () => cache.get(db.session(), '7', counted)))
  expect(loads).toBe(1)
  const author = db.session()
  await author.query(SAVE, [8, 'new'])
  await cluster.pause('replica-1')
  try {
    await author.query(SAVE, [8, 'newer'])
    const both = await Promise.all([cache.get(db.session(), '8', load(8)), cache.get(author, '8', load(8))])
    expect(both[1]).toBe('newer')
  } finally {
    await cluster.resume('replica-1')
  }
})

test('a store that is down costs what it would have saved, and nothing else', async () => {
  const down: CacheStore = {
    get: () => Promise.reject(new Error('down')),
    compareAndSet: () => Promise.reject(new Error('down')),
  }
  const cache = fencedCache(down)
  const author = db.session()
  await author.query(SAVE, [9, 'new'])
  expect(await cache.invalidate(author, '9')).toBe(false)
  expect(await cache.get(author, '9', load(9))).toBe('new')
})

test('a value that the primary showed while a commit still waited for its standbys does not stand against its invalidation', async () => {
  const sync = await startCluster({ replicas: 1, settings: { synchronous_standby_names: 'ANY 1 (*)' } })
  const on = await openDatabase(sync, { ladder: [primary()], pollIntervalMs: 10 })
  try {
    await sync.query('primary', "CREATE TABLE profiles (id int PRIMARY KEY, name text); INSERT INTO profiles VALUES (1, 'old')")
    await sync.caughtUp()
    await sync.pause('replica-1')
    const store = memoryCacheStore()
    const cache = fencedCache(store)
    const author = on.session()
    const known = () => parseLsn(on.status().find(({ node }) => node === 'primary')?.applied ?? '0/0')
    const written = author.query(SAVE, [1, 'new'], { writePolicy: quorum(2, { remoteApply: true, timeoutMs: 20_000 }) })
    // Its record is in the log, and nobody sees it yet.
    const waits = "SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    await expect.poll(async () => (await sync.query('primary', waits)).length, { timeout: 10_000 }).toBe(1)
    // And the router has heard how far the log is.
    const [end] = await sync.query<{ lsn: string }>('primary', 'SELECT pg_current_wal_insert_lsn()::text AS lsn')
    // At a page boundary the server's answer lies a page header further on.
    await expect.poll(known, { timeout: 10_000 }).toBeGreaterThanOrEqual(parseLsn(end!.lsn) - 64n)
    let mayFill = () => {}
    const held = new Promise<void>(resolve => {
      mayFill = resolve
    })
    const late = cache.get(on.session(), '1', async session => {
      const value = await load(1)(session)
      await held
      return value
    })
    await expect.poll(async () => (await sync.query('primary', waits)).length).toBe(1)
    await sync.resume('replica-1')
    await written
    expect(await cache.invalidate(author, '1')).toBe(true)
    mayFill()
    await late
    expect(await store.get('1')).not.toContain('old')
    expect(await cache.get(author, '1', load(1))).toBe('new')
  } finally {
    await on.close()
    await sync.close()
  }
})

test('a read on the primary proves nothing of what it has seen; one on a replica what that had applied', async () => {
  await cluster.caughtUp()
  const onPrimary = db.session()
  await onPrimary.query(NAME, [1], { ladder: [primary()] })
  expect(onPrimary.readAt?.isZero).toBe(true)
  const onReplica = db.session()
  await onReplica.query(NAME, [1])
  expect(onReplica.lastOutcome?.node).toBe('replica-1')
  expect(onReplica.readAt?.isZero).toBe(false)
})
