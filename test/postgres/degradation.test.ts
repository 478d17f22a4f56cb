/** Rules 5, 6, 7 and 9 on a real cluster: what a read gets when nothing has caught up, and what can not be made to wait. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Tidemark } from '../../src/engines/postgres/index.js'
import { NotReadyError, NotServedError, notReady, primary, replica, stale, TokenCodec, wait } from '../../src/index.js'
import { type Cluster, startCluster } from '../../src/testing/index.js'
import { openDatabase, until } from '../support/database.js'

let cluster: Cluster
let db: Tidemark
const SAVE = 'INSERT INTO notes (body) VALUES ($1)'
const COUNT = 'SELECT count(*)::int AS n FROM notes'

beforeAll(async () => {
  cluster = await startCluster({ replicas: 1 })
  await cluster.query('primary', 'CREATE TABLE notes (body text)')
  await cluster.caughtUp()
  db = await openDatabase(cluster)
})
afterEach(async () => {
  await cluster.resume('replica-1')
  await cluster.caughtUp()
})
afterAll(async () => {
  await db?.close()
  await cluster?.close()
})

async function writtenWhilePaused() {
  await cluster.pause('replica-1')
  const session = db.session()
  await session.query(SAVE, ['unseen by the replica'])
  return session
}

describe('the outcome says what was achieved', () => {
  test('the default falls back to the primary and keeps the guarantee', async () => {
    const session = await writtenWhilePaused()
    await session.query(COUNT)
    expect(session.lastOutcome).toMatchObject({ node: 'primary', rung: 'primary', guarantee: 'read-your-writes', stalenessMs: 0 })
  })

  test('a stale answer is given only by a rung that was asked for, and is marked', async () => {
    const session = await writtenWhilePaused()
    await session.query(COUNT, [], { ladder: [replica(), stale({ maxLagMs: 60_000 })] })
    expect(session.lastOutcome).toMatchObject({ node: 'replica-1', rung: 'stale', guarantee: 'eventual' })
    expect(session.lastOutcome!.stalenessMs).toBeGreaterThan(0)
  })

  test('a replica that is staler than allowed is not used', async () => {
    const session = await writtenWhilePaused()
    await until(() => (db.status().find(status => status.node === 'replica-1')?.stalenessMs ?? 0) > 20, 'the window grows')
    await expect(session.query(COUNT, [], { ladder: [replica(), stale({ maxLagMs: 1 })] })).rejects.toBeInstanceOf(NotServedError)
  })

  test('not ready, with when to try again', async () => {
    const session = await writtenWhilePaused()
    const error = await session
      .query(COUNT, [], { ladder: [replica(), notReady({ retryAfterMs: 250 })] })
      .catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(NotReadyError)
    expect(error).toMatchObject({ code: 'TIDEMARK_NOT_READY', retryAfterMs: 250 })
  })

  test('the end of the ladder is a typed error that says what was needed and where everybody is', async () => {
    const session = await writtenWhilePaused()
    const error = (await session
      .query(COUNT, [], { ladder: [replica(), wait({ budgetMs: 30 })] })
      .catch((reason: unknown) => reason)) as NotServedError
    expect(error).toBeInstanceOf(NotServedError)
    expect(error.required).toBe(session.history.writes.toString())
    expect(error.nodes.join()).toMatch(/replica-1: replica, at \d+\/1@\d+/)
  })

  test('a wait ends well when the replica catches up within the budget', async () => {
    const session = await writtenWhilePaused()
    const read = session.query(COUNT, [], { ladder: [replica(), wait({ budgetMs: 20_000 })] })
    await cluster.resume('replica-1')
    await read
    expect(session.lastOutcome).toMatchObject({ node: 'replica-1', rung: 'wait', guarantee: 'read-your-writes' })
    expect(session.lastOutcome!.waitedMs).toBeGreaterThan(0)
  })
})

describe('bounds', () => {
  test('ten thousand waiting reads hold no connection, and all are served once the replica has caught up', async () => {
    const session = await writtenWhilePaused()
    let served = 0
    const ladder = [replica(), wait({ budgetMs: 25_000 })]
    const reads = Array.from({ length: 10_000 }, () => session.query(COUNT, [], { ladder }).then(() => served++))
    await new Promise(resolve => setImmediate(resolve))
    expect(db.pool.totalCount - db.pool.idleCount).toBe(0)
    expect(db.pool.waitingCount).toBe(0)
    const pollers = `SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name = 'tidemark' AND query LIKE '%received_tli%'`
    expect(await cluster.query('replica-1', pollers)).toEqual([{ n: 1 }])
    expect(served).toBe(0)
    await cluster.resume('replica-1')
    await Promise.all(reads)
    expect(served).toBe(10_000)
    expect(session.lastOutcome).toMatchObject({ node: 'replica-1', rung: 'wait', guarantee: 'read-your-writes' })
  })

  test('fallback puts no more on the primary than it may', async () => {
    const session = await writtenWhilePaused()
    const ladder = [replica(), primary({ maxInFlight: 2 }), notReady()]
    const results = await Promise.allSettled(Array.from({ length: 10 }, () => session.query(COUNT, [], { ladder })))
    expect(results.filter(result => result.status === 'fulfilled')).toHaveLength(2)
    expect(results.filter(result => result.status === 'rejected' && result.reason instanceof NotReadyError)).toHaveLength(8)
  })

  test('a signal ends a wait', async () => {
    const session = await writtenWhilePaused()
    const controller = new AbortController()
    const read = session.query(COUNT, [], { ladder: [replica(), wait({ budgetMs: 20_000 })], signal: controller.signal })
    controller.abort(new Error('the user has gone'))
    await expect(read).rejects.toThrow('the user has gone')
  })

  test('a time-out ends a running statement on the server, and its connection is used again', async () => {
    const session = db.session()
    const sleep = 'SELECT pg_sleep(20) AS nap'
    await expect(session.query(sleep, [], { timeoutMs: 50, on: 'replica' })).rejects.toMatchObject({ name: 'TimeoutError' })
    await until(
      async () =>
        (await cluster.query('replica-1', `SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query = '${sleep}'`))
          .length === 0,
      'the server has stopped',
    )
    await expect(session.query(`${sleep}; SELECT 1`, [], { timeoutMs: 50 })).rejects.toMatchObject({ name: 'TimeoutError' })
    expect((await session.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
  })
})

describe('tokens that are not to be trusted', () => {
  const forgeries: Record<string, () => string> = {
    garbage: () => 'not a token',
    oversized: () => 'A'.repeat(100_000),
    'signed with another secret': () => {
      const far = { ...db.session().history, uncertain: true }
      return new TokenCodec({ secret: 'some other secret, of an attacker' }).encode(far)
    },
    "another user's": () => {
      const other = db.session(undefined, { user: 'eve' })
      return other.token()
    },
  }
  for (const [name, forge] of Object.entries(forgeries)) {
    test(`${name}: counts as none, waits for nothing and puts nothing on the primary`, async () => {
      await cluster.pause('replica-1')
      const session = db.session(forge(), name === "another user's" ? { user: undefined } : {})
      expect(session.history).toMatchObject({ uncertain: false })
      expect(session.history.writes.isZero).toBe(true)
      await session.query(COUNT)
      expect(session.lastOutcome).toMatchObject({ node: 'replica-1', rung: 'replica', waitedMs: 0 })
    })
  }

  test('a token never expires: however old, its fence holds', async () => {
    const years = new TokenCodec({
      secret: 'a secret that only the tests know',
      clock: { now: () => 0, wallNow: () => Date.parse('2001-01-01'), setTimer: () => ({ cancel: () => {} }), random: () => 0 },
    })
    const session = await writtenWhilePaused()
    const old = db.session(years.encode(session.history))
    await old.query(COUNT)
    expect(old.lastOutcome).toMatchObject({ node: 'primary', guarantee: 'read-your-writes' })
  })
})
