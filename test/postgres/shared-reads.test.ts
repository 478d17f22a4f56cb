/** Quick reads that come in one turn of the event loop share a connection; nobody else is ever on it, and none suffers for another. */

import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { PostgresSession, QueryOptions, Tidemark } from '../../src/engines/postgres/index.js'
import { primary, type Rung, replica } from '../../src/index.js'
import { type Cluster, startCluster } from '../../src/testing/index.js'
import { openDatabase, until } from '../support/database.js'

let cluster: Cluster
let db: Tidemark
const WHICH = `inet_server_port() || ' from ' || inet_client_port() AS connection`
const READ = `SELECT ${WHICH}`
const ON_REPLICA: QueryOptions = { ladder: [replica()] }
const ON_PRIMARY: QueryOptions = { ladder: [primary()] }
/** Fewer than a pool has connections: none of them is in want of one. */
const READS = 8

beforeAll(async () => {
  cluster = await startCluster({ replicas: 1 })
  await cluster.query('primary', 'CREATE TABLE one (n int); CREATE TABLE other (n int)')
  await cluster.caughtUp()
  db = await openDatabase(cluster)
})
afterAll(async () => {
  await db?.close()
  await cluster?.close()
})

type Read = readonly [text: string, values?: readonly unknown[] | undefined, options?: QueryOptions]

async function read(session: PostgresSession, [text, values, options = ON_REPLICA]: Read): Promise<string> {
  return (await session.query<{ connection: string }>(text, values, options)).rows[0]!.connection
}

const times = <T>(count: number, make: (index: number) => T): T[] => Array.from({ length: count }, (_, index) => make(index))

/**
 * Which statements are quick is measured. So each round begins with reads that are alone, and rounds go on until one has done
 * what is to be shown; what must never happen is asserted in each.
 */
async function untilRound(what: string, alone: Read, round: () => Promise<boolean>, at = db): Promise<void> {
  const session = at.session()
  const [text, values, options = ON_REPLICA] = alone
  // With a signal, each has a connection to itself: as many as a round needs are at hand then.
  const apart: Read = [text, values, { ...options, signal: new AbortController().signal }]
  await until(
    async () => {
      for (let i = 0; i < 20; i++) await read(session, alone)
      await Promise.all(times(READS, () => read(session, apart)))
      return round()
    },
    what,
    20_000,
  )
}

/** The answer, or a failure of the test: nothing may hang. */
async function answered<T>(work: Promise<T>, what: string): Promise<T> {
  let ended = false
  const end = () => {
    ended = true
  }
  work.then(end, end)
  await until(() => ended, what)
  return work
}

function mostOnOne(connections: readonly string[]): number {
  return Math.max(...connections.map(one => connections.filter(other => other === one).length))
}

describe('reads of one turn', () => {
  test('share connections, four to one at the most', async () => {
    const session = db.session()
    await untilRound('four share one', [READ], async () => {
      const most = mostOnOne(await Promise.all(times(READS, () => read(session, [READ]))))
      expect(most).toBeLessThanOrEqual(4)
      return most === 4
    })
  })

  test('wait for no lock that only another text wants', async () => {
    const session = db.session()
    const of = (table: string): Read => [`SELECT ${WHICH}, (SELECT count(*) FROM ${table})`, [], ON_PRIMARY]
    await untilRound('reads share beside one that waits', of('other'), async () => {
      for (let i = 0; i < 20; i++) await read(session, of('one'))
      let locked: Promise<string> | undefined
      const connections = await session.transaction(async transaction => {
        await transaction.query('LOCK TABLE one')
        const first = read(session, of('other'))
        locked = read(session, of('one'))
        locked.catch(() => {})
        return answered(Promise.all([first, ...times(4, () => read(session, of('other')))]), 'reads of the other table')
      })
      await locked
      return mostOnOne(connections) > 1
    })
  })

  test('wait for no lock that only another text wants, either, where connections are wanting', async () => {
    const narrow = await openDatabase(cluster, { pool: { max: 3 } })
    const session = narrow.session()
    const of = (table: string): Read => [`SELECT ${WHICH}, (SELECT count(*) FROM ${table})`, [], ON_PRIMARY]
    try {
      for (let i = 0; i < 20; i++) for (const table of ['one', 'other']) await read(session, of(table))
      let locked: Promise<string>[] = []
      const connections = await session.transaction(async transaction => {
        await transaction.query('LOCK TABLE one')
        // Both connections that are left are busy when the first that waits for the lock comes, and it brings its like along.
        const first = times(2, () => read(session, of('other')))
        locked = times(3, () => read(session, of('one')))
        for (const each of locked) each.catch(() => {})
        return answered(Promise.all([...first, ...times(20, () => read(session, of('other')))]), 'reads of the other table')
      })
      expect(mostOnOne(connections)).toBeGreaterThan(1)
      await Promise.all(locked)
    } finally {
      await narrow.close()
    }
  })

  test('settle uncertain sessions', async () => {
    const writer = db.session()
    await untilRound('reads that settle share', [READ, [], ON_PRIMARY], async () => {
      await writer.query('INSERT INTO other VALUES (1)')
      const sessions = times(READS, () => db.session(undefined, { user: 'ann' }))
      for (const { history } of sessions) expect(history.uncertain).toBe(true)
      const connections = await Promise.all(sessions.map(session => read(session, [READ, [], ON_PRIMARY])))
      for (const { history } of sessions) {
        expect(history.uncertain).toBe(false)
        expect(history.writes.includes(writer.history.writes)).toBe(true)
      }
      return mostOnOne(connections) > 1
    })
  })
})

describe('one that fails does not touch its neighbours', () => {
  const circular: { self?: unknown } = {}
  circular.self = circular

  test.each([
    ['an error of the server', 0, { code: '22012' }],
    ['a value that cannot be sent', circular, { name: 'TypeError' }],
  ])('%s', async (what, value, error) => {
    const session = db.session()
    const of = (divisor: unknown): Read => [`SELECT ${WHICH}, 1 / $1::int`, [divisor]]
    await untilRound(`${what}, among others`, of(1), async () => {
      const before = times(2, () => read(session, of(1)))
      const failing = read(session, of(value))
      const after = times(2, () => read(session, of(1)))
      await expect(failing).rejects.toMatchObject(error)
      return mostOnOne(await Promise.all([...before, ...after])) > 1
    })
  })

  test("the driver's own time-out, which closes the connection", async () => {
    const session = db.session()
    const text = `SELECT ${WHICH} FROM (VALUES (pg_sleep($1::float8))) nap`
    const of = (seconds: number): Read => [text, [seconds], { ...ON_REPLICA, on: 'replica' }]
    await untilRound('reads share beside one that times out', of(0), async () => {
      const before = times(2, () => read(session, of(0)))
      const late = session.query({ text, values: [20], query_timeout: 50 } as pg.QueryConfig, undefined, of(20)[2])
      const after = times(2, () => read(session, of(0)))
      await expect(late).rejects.toMatchObject({ cause: { message: 'Query read timeout' } })
      return mostOnOne(await Promise.all([...before, ...after])) > 1
    })
  })

  test('a statement of the same name that was refused, or taken back', async () => {
    const narrow = await openDatabase(cluster, { pool: { max: 1 } })
    const session = narrow.session()
    const query = (name: string, text: string, value: unknown) =>
      session.query({ name, text, values: [value] }, undefined, ON_REPLICA)
    const good = (value: unknown) => query('good', 'SELECT $1::text AS value', value)
    const bad = () => query('bad', 'SELECT nothing FROM one WHERE n = $1', 1)
    const codeOf = (error: { code?: string }) => error.code
    await untilRound(
      'they share',
      [READ],
      async () => {
        for (let i = 0; i < 20; i++) await Promise.allSettled([good(0), bad()])
        const refused = [good(0), ...times(3, () => bad().catch(codeOf))]
        const [first, taken, ...others] = [good(1), good(circular), good(2), good(3)]
        await new Promise(resolve => setImmediate(resolve))
        // Else they would wait for a connection of their own.
        const shared = narrow.pool.waitingCount === 0
        await expect(taken).rejects.toBeInstanceOf(TypeError)
        expect((await Promise.all(refused)).slice(1)).toEqual(['42703', '42703', '42703'])
        expect((await Promise.all([first!, ...others])).map(({ rows }) => rows[0]?.value)).toEqual(['1', '2', '3'])
        return shared
      },
      narrow,
    ).finally(() => narrow.close())
  })
})

test('no transaction that begins in the same turn is on a shared connection', async () => {
  const session = db.session()
  const begin = async (pool: typeof db.pool, text: string) => {
    const client = await pool.connect()
    await client.query(text)
    return { client, connection: (await client.query<{ connection: string }>(READ)).rows[0]!.connection }
  }
  const saidToBeARead = (ladder: readonly Rung[]): Read => [`${READ}, pg_backend_pid()`, [], { ladder, on: 'replica' }]
  await untilRound('reads share beside transactions', [READ, [], ON_PRIMARY], async () => {
    for (let i = 0; i < 20; i++) await read(session, saidToBeARead([replica()]))
    const first = read(session, [READ, [], ON_PRIMARY])
    // It gets a connection that others may join; and on the primary, where it is a write, gives it back at once. Whoever takes a
    // connection next has that one, alone, whatever else comes in this turn.
    const writes = [read(session, saidToBeARead([primary()]))]
    const begun = Promise.all([begin(db.pool, 'BEGIN'), begin(db.pool, 'BEGIN'), begin(session.pool, 'BEGIN READ ONLY')])
    for (let i = 0; i < 50; i++) await undefined
    writes.push(read(session, saidToBeARead([primary()])))
    const reads = times(6, i => read(session, [READ, [], i % 2 === 0 ? ON_PRIMARY : ON_REPLICA]))
    const connections = await Promise.all([first, ...reads, ...writes])
    const alone = await begun
    await Promise.all(alone.map(({ client }) => client.query('COMMIT')))
    for (const { client } of alone) client.release()
    expect(new Set(alone.map(({ connection }) => connection)).size).toBe(3)
    for (const { connection } of alone) expect(connections).not.toContain(connection)
    return mostOnOne(connections.slice(0, -2)) > 1
  })
})

describe('what ends with a connection', () => {
  test('reads whose server process is terminated are answered by another node', async () => {
    const of = (on: QueryOptions): Read => [`SELECT ${WHICH}, (SELECT count(*) FROM one)`, [], on]
    const waiting = `SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query = $$${of({})[0]}$$`
    await untilRound('reads that wait share', of(ON_REPLICA), async () => {
      const blocker = new pg.Client(cluster.url('primary'))
      await blocker.connect()
      try {
        await blocker.query('BEGIN')
        await blocker.query('LOCK TABLE one')
        await cluster.query('primary', 'INSERT INTO other VALUES (1)')
        await cluster.caughtUp()
        const sessions = times(READS, () => db.session())
        const reads = Promise.all(sessions.map(session => read(session, of({ ladder: [replica(), primary()] }))))
        reads.catch(() => {})
        const inUse = () => db.pool.totalCount - db.pool.idleCount
        await until(async () => (await cluster.query('replica-1', waiting)).length === inUse(), 'all of them wait')
        const shared = inUse() < READS
        await cluster.query('replica-1', `SELECT pg_terminate_backend(pid) FROM (${waiting}) waiting`)
        await until(async () => (await cluster.query('primary', waiting)).length > 0, 'they wait on the primary')
        await blocker.query('ROLLBACK')
        await answered(reads, 'all of them are answered')
        for (const { lastOutcome } of sessions) expect(lastOutcome).toMatchObject({ node: 'primary', reroutes: 1 })
        return shared
      } finally {
        await blocker.end()
      }
    })
  })

  test('the database is closed in the same turn: they are answered, and nothing is left open', async () => {
    const open = `SELECT 1 FROM pg_stat_activity WHERE application_name = 'to be closed'`
    await until(async () => {
      const closing = await openDatabase(cluster, { pool: { application_name: 'to be closed' } })
      let shared = false
      await untilRound(
        'a round',
        [READ],
        async () => {
          const reads = times(READS, () => read(closing.session(), [READ]))
          const closed = closing.close()
          shared = mostOnOne(await answered(Promise.all(reads), 'all of them are answered')) > 1
          await answered(closed, 'it is closed')
          return true
        },
        closing,
      )
      for (const node of cluster.nodes) {
        await until(async () => (await cluster.query(node, open)).length === 0, `nothing is open on ${node}`)
      }
      return shared
    }, 'reads share while it is closed')
  })
})

test('a read that is queued is not overtaken by all that come later', async () => {
  const narrow = await openDatabase(cluster, { pool: { max: 1 } })
  const nap: Read = ['SELECT pg_sleep(0.002)', [], { ...ON_REPLICA, on: 'replica' }]
  const session = narrow.session()
  for (let i = 0; i < 20; i++) await session.query(...nap)
  let left = 300
  // More than may share one connection, each asking again as soon as it is answered.
  const served = await Promise.all(
    times(18, async () => {
      let count = 0
      while (left-- > 0) {
        await session.query(...nap)
        count++
      }
      return count
    }),
  ).finally(() => narrow.close())
  expect(Math.min(...served)).toBeGreaterThan(1)
})
