/** The session cache keeps what was committed, as of where it was committed, and nothing else. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { PostgresSession, Tidemark } from '../../src/engines/postgres/index.js'
import { type Cluster, startCluster } from '../../src/testing/index.js'
import { openDatabase } from '../support/database.js'

let cluster: Cluster
let db: Tidemark
const UPDATE = 'UPDATE profiles SET name = $2 WHERE id = $1 RETURNING name'
const NAME = 'SELECT name FROM profiles WHERE id = $1'

beforeAll(async () => {
  cluster = await startCluster({ replicas: 1 })
  await cluster.query(
    'primary',
    'CREATE TABLE profiles (id int PRIMARY KEY, name text, other int REFERENCES profiles DEFERRABLE INITIALLY DEFERRED)',
  )
  await cluster.query('primary', "INSERT INTO profiles SELECT n, 'old' FROM generate_series(1, 20) n")
  await cluster.caughtUp()
  await cluster.pause('replica-1')
  db = await openDatabase(cluster, { preset: 'write-through-cache' })
})
afterAll(async () => {
  await db?.close()
  await cluster?.close()
})

/** A session whose committed write the replica lacks, so that the cache is what serves if it has anything. */
async function author(): Promise<PostgresSession> {
  const session = db.session()
  await session.query("UPDATE profiles SET name = 'mine' WHERE id = 20")
  return session
}

const undone: Record<string, (session: PostgresSession, id: number, cache: string) => Promise<unknown>> = {
  'a failed statement was swallowed and COMMIT answered by ROLLBACK': (session, id, cache) =>
    session.transaction(async transaction => {
      await transaction.query(UPDATE, [id, 'never'], { cache })
      await transaction.query('SELECT 1/0').catch(() => {})
    }),
  'a deferred constraint failed at COMMIT': (session, id, cache) =>
    session.transaction(async transaction => {
      await transaction.query('UPDATE profiles SET other = 4711 WHERE id = $1', [id])
      await transaction.query(UPDATE, [id, 'never'], { cache })
    }),
  'a savepoint took it back': (session, id, cache) =>
    session.transaction(async transaction => {
      await transaction.query('SAVEPOINT before')
      await transaction.query(UPDATE, [id, 'never'], { cache })
      await transaction.query('ROLLBACK TO SAVEPOINT before')
    }),
  'the work threw': (session, id, cache) =>
    session.transaction(async transaction => {
      await transaction.query(UPDATE, [id, 'never'], { cache })
      session.put(cache, { name: 'never' })
      throw new Error('changed my mind')
    }),
}
for (const [index, [name, work]] of Object.entries(undone).entries()) {
  test(`nothing is kept when ${name}`, async () => {
    const id = index + 1
    const session = await author()
    await work(session, id, `profile:${id}`).catch(() => {})
    const { rows } = await session.query(NAME, [id], { cache: `profile:${id}` })
    expect(rows).toEqual([{ name: 'old' }])
    expect(session.lastOutcome).toMatchObject({ rung: 'primary' })
  })
}

test('control: what was committed is kept, and served', async () => {
  const session = db.session()
  await session.transaction(transaction => transaction.query(UPDATE, [10, 'kept'], { cache: 'profile:10' }))
  expect((await session.query(NAME, [10], { cache: 'profile:10' })).rows).toEqual([{ name: 'kept' }])
  expect(session.lastOutcome).toMatchObject({ rung: 'sessionCache', guarantee: 'read-your-writes' })
})

test('each read is counted, also one that waits for another’s load; and what came of the cache for it', async () => {
  const session = await author()
  await session.query(UPDATE, [12, 'kept'], { cache: 'counted' })
  const before = db.stats()
  await session.query(NAME, [12], { cache: 'counted' })
  await session.query('UPDATE profiles SET name = name WHERE id = 13')
  // What was kept is older than the last write now, so the primary is asked: once, for all of them.
  const read = () => session.query(NAME, [12], { cache: 'counted' })
  const rows = (await Promise.all([read(), read(), read()])).map(result => result.rows)
  expect(rows).toEqual(Array(3).fill([{ name: 'kept' }]))
  const { reads, cache } = db.stats()
  const grown = (now: number | undefined, then: number | undefined) => (now ?? 0) - (then ?? 0)
  expect(grown(reads.total, before.reads.total)).toBe(4)
  const results = ['hit', 'miss', 'refused', 'bypassed']
  expect(results.map(each => grown(cache.session[each], before.cache.session[each]))).toEqual([1, 0, 1, 0])
})

test('of two writes of one author at the same time, neither value outlives the other', async () => {
  for (let round = 0; round < 20; round++) {
    const session = db.session()
    const key = `race ${round}`
    await Promise.all([session.query(UPDATE, [11, `a${round}`], { cache: key }), session.query(UPDATE, [11, `b${round}`])])
    const [truth] = await cluster.query<{ name: string }>('primary', NAME, [11])
    expect((await session.query(NAME, [11], { cache: key })).rows).toEqual([truth])
  }
})

test('a signal that has aborted already ends a transaction at once, also when there is no connection to be had', async () => {
  const reason = new Error('too late')
  const small = await openDatabase(cluster, { pool: { max: 1 }, connectTimeoutMs: 60_000 })
  try {
    await small.session().transaction(async transaction => {
      await transaction.query('SELECT 1')
      const begun = small.session().transaction(async () => 'done', { signal: AbortSignal.abort(reason) })
      await expect(begun).rejects.toBe(reason)
    })
  } finally {
    await small.close()
  }
})
