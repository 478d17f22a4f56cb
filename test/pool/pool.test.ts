import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Tidemark, tidemark } from '../../src/engines/postgres/index.js'
import { until } from '../../src/testing/until.js'
import { called, createNotes, type Setup, setUp, withClient } from './setup.js'

// What an application that knows nothing of Tidemark may expect of `db.pool`.

const WHERE = 'select inet_server_port() as port'
const PID = 'select pg_backend_pid() as pid'

let setup: Setup
let db: Tidemark

beforeAll(async () => {
  setup = await setUp()
  db = setup.db
  await createNotes(setup)
})

afterAll(() => setup?.close())

describe('the face of pg.Pool', () => {
  test('it is one', () => {
    expect(db.pool).toBeInstanceOf(pg.Pool)
    expect(db.session().pool).toBeInstanceOf(pg.Pool)
    expect(db.eventual.pool).toBeInstanceOf(pg.Pool)
  })

  test('query: promises and callbacks, text and values and config', async () => {
    const { pool } = db
    expect((await pool.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    expect((await pool.query('select $1::int as n', [2])).rows).toEqual([{ n: 2 }])
    expect((await pool.query({ text: 'select $1::int as n', values: [3] })).rows).toEqual([{ n: 3 }])
    expect((await pool.query({ text: 'select $1::int as n' }, [4])).rows).toEqual([{ n: 4 }])
    expect((await pool.query({ text: 'select 1, 2', rowMode: 'array' })).rows).toEqual([[1, 2]])
    expect(await called(done => pool.query('select 1 as one', done))).toEqual([{ one: 1 }])
    expect(await called(done => pool.query('select $1::int as n', [5], done))).toEqual([{ n: 5 }])
    expect(await called(done => pool.query({ text: 'select 6 as n' }, done))).toEqual([{ n: 6 }])
    await expect(called(done => pool.query('select nonsense', done))).rejects.toMatchObject({ code: '42703' })
  })

  test('several statements in one text give several results', async () => {
    const results = (await db.pool.query('select 1 as a; select 2 as b')) as unknown as pg.QueryResult[]
    expect(results.map(each => each.rows)).toEqual([[{ a: 1 }], [{ b: 2 }]])
  })

  test('connect: promises and callbacks, and the ways to give a client back', async () => {
    const { pool } = db
    const client = await pool.connect()
    expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    expect(await called(done => client.query('select 2 as two', done))).toEqual([{ two: 2 }])
    expect(await called(done => client.query('select $1::int as n', [3], done))).toEqual([{ n: 3 }])
    client.release()
    expect(() => client.release()).toThrow('already been released')
    await expect(client.query('select 1')).rejects.toThrow('not queryable')
    const answer = await new Promise((resolve, reject) => {
      pool.connect((error, lent, done) => {
        if (error || lent === undefined) return reject(error)
        lent.query('select 4 as four', (failure, result) => {
          done()
          failure ? reject(failure) : resolve(result.rows)
        })
      })
    })
    expect(answer).toEqual([{ four: 4 }])
    const { release } = await pool.connect()
    release()
  })

  test('the same config object may be used again', async () => {
    const config = { name: 'again', text: 'select $1::int as n' }
    await withClient(db.pool, async client => {
      for (const n of [1, 2, 3]) expect((await client.query({ ...config, values: [n] })).rows).toEqual([{ n }])
      for (const n of [1, 2, 3]) expect((await client.query(config, [n])).rows).toEqual([{ n }])
    })
    const frozen = Object.freeze({ name: 'frozen', text: 'select $1::int as n', values: [4] })
    for (const _ of [1, 2]) expect((await db.pool.query(frozen)).rows).toEqual([{ n: 4 }])
    expect((await db.pool.query(frozen, [5])).rows).toEqual([{ n: 5 }])
  })

  test('a named statement has whatever else its config says', async () => {
    const types = { getTypeParser: () => (text: string) => `<${text}>` } as unknown as pg.CustomTypesConfig
    const named = { name: 'with-options', text: 'select $1::int8 as n' }
    for (const _ of [1, 2]) {
      expect((await db.pool.query({ ...named, rowMode: 'array' }, [1])).rows).toEqual([['1']])
      expect((await db.pool.query({ ...named, types }, [1])).rows).toEqual([{ n: '<1>' }])
      expect((await db.pool.query(named, [1])).rows).toEqual([{ n: '1' }])
    }
    await withClient(db.pool, async client => {
      client.setTypeParser(20, text => BigInt(text))
      expect((await client.query(named, [1])).rows).toEqual([{ n: 1n }])
    })
  })

  test('a named statement runs on whichever node it comes to', async () => {
    const named = { name: 'where-am-i', text: `${WHERE}, $1::int as n` }
    const session = db.session()
    const nodes = new Set<string>()
    // At once, since a load spreads over the replicas; and again, on connections that know the statement.
    for (const _ of [1, 2]) {
      const results = await Promise.all(Array.from({ length: 12 }, (_, n) => session.pool.query(named, [n])))
      expect(results.map(({ rows }) => rows[0].n)).toEqual(results.map((_, n) => n))
      for (const { rows } of results) nodes.add(setup.nodeAt(rows[0].port))
    }
    const { rows } = await db.pool.query(named, [99])
    expect(rows[0].n).toBe(99)
    nodes.add(setup.nodeAt(rows[0].port))
    expect([...nodes].sort()).toEqual(['primary', 'replica-1', 'replica-2'])
  })

  test('type parsers: of the query, of the client, of the driver', async () => {
    const types = { getTypeParser: () => (text: string) => `<${text}>` } as unknown as pg.CustomTypesConfig
    expect((await db.pool.query({ text: 'select 1::int8 as n', types })).rows).toEqual([{ n: '<1>' }])
    await withClient(db.pool, async client => {
      client.setTypeParser(20, text => BigInt(text))
      expect((await client.query('select 1::int8 as n')).rows).toEqual([{ n: 1n }])
      await client.query('begin')
      expect((await client.query('select $1::int8 as n', [2])).rows).toEqual([{ n: 2n }])
      await client.query('rollback')
    })
    expect((await db.pool.query('select 1::int8 as n')).rows).toEqual([{ n: '1' }])
    const before = pg.types.getTypeParser(20)
    pg.types.setTypeParser(20, text => Number(text))
    try {
      expect((await db.pool.query('select 1::int8 as n')).rows).toEqual([{ n: 1 }])
    } finally {
      pg.types.setTypeParser(20, before)
    }
  })

  test("the server's errors are passed on as they are", async () => {
    const text = 'taken'
    await db.pool.query('insert into notes (text) values ($1)', [text])
    const failed = await db.pool.query('insert into notes (text) values ($1)', [text]).catch(error => error)
    expect(failed).toBeInstanceOf(pg.DatabaseError)
    expect(failed).toMatchObject({ code: '23505', constraint: 'notes_text_key', table: 'notes', severity: 'ERROR' })
    await withClient(db.pool, async client => {
      await expect(client.query('select nonsense')).rejects.toMatchObject({ code: '42703', position: '8' })
      expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    })
  })

  test('what is wrong with a call is told as the driver tells it', async () => {
    await expect(db.pool.query(null as never)).rejects.toThrow(TypeError)
    await expect(db.pool.query('select $1::int', 'one' as never)).rejects.toThrow('must be an array')
    await withClient(db.pool, async client => {
      expect(() => client.query(null as never)).toThrow(TypeError)
      await expect(client.query({} as never)).rejects.toThrow('either text or a name')
    })
    await setup.nothingLeased()
  })

  test('a Submittable of the driver', async () => {
    await withClient(db.pool, async client => {
      const query = new pg.Query({ text: 'select $1::int as n', values: [7] })
      const rows: unknown[] = []
      query.on('row', row => rows.push(row))
      expect(client.query(query)).toBe(query)
      await new Promise((resolve, reject) => query.on('end', resolve).on('error', reject))
      expect(rows).toEqual([{ n: 7 }])
    })
    await setup.nothingLeased()
  })

  test('a hundred queries at once', async () => {
    const session = db.session()
    const numbers = Array.from({ length: 100 }, (_, n) => n)
    for (const pool of [db.pool, session.pool, db.eventual.pool]) {
      const results = await Promise.all(numbers.map(n => pool.query('select $1::int as n', [n])))
      expect(results.map(({ rows }) => rows[0].n)).toEqual(numbers)
    }
    const transactions = numbers.slice(0, 30).map(n =>
      withClient(session.pool, async client => {
        await client.query('begin')
        await client.query('insert into notes (text) values ($1)', [`at once ${n}`])
        await client.query(n % 2 === 0 ? 'commit' : 'rollback')
      }),
    )
    await Promise.all(transactions)
    expect((await session.query("select count(*)::int as n from notes where text like 'at once %'")).rows).toEqual([{ n: 15 }])
    await setup.nothingLeased()
  })

  test('statements of one client run in order, awaited or not', async () => {
    await withClient(db.session().pool, async client => {
      const answers = [
        client.query('select 1 as n'),
        client.query('begin'),
        client.query("insert into notes (text) values ('in order')"),
        client.query("select count(*)::int as n from notes where text = 'in order'"),
        client.query('rollback'),
        client.query("select count(*)::int as n from notes where text = 'in order'"),
      ]
      const rows = (await Promise.all(answers)).map(answer => answer.rows[0]?.n)
      expect(rows).toEqual([1, undefined, undefined, 1, undefined, 0])
    })
  })

  test('a client given back too early still runs what it was sent', async () => {
    const client = await db.pool.connect()
    const answers = Promise.all([
      client.query('begin'),
      client.query("insert into notes (text) values ('early')"),
      client.query('commit'),
    ])
    client.release()
    await answers
    expect((await db.pool.query("select from notes where text = 'early'")).rowCount).toBe(1)
    await setup.nothingLeased()
  })
})

describe('events, counts and the end', () => {
  test('acquire and release come for clients and for single queries', async () => {
    const { pool } = db.session()
    const seen: unknown[] = []
    pool.on('acquire', client => seen.push(['acquire', client]))
    pool.on('release', (error, client) => seen.push(['release', client, error]))
    const client = await pool.connect()
    client.release()
    const oops = new Error('oops')
    const spoiled = await pool.connect()
    spoiled.release(oops)
    expect(seen).toEqual([
      ['acquire', client],
      ['release', client, undefined],
      ['acquire', spoiled],
      ['release', spoiled, oops],
    ])
    await pool.query('select 1')
    expect(seen.map(each => (each as unknown[])[0]).slice(4)).toEqual(['acquire', 'release'])
  })

  test('connect and remove come for the connections of all nodes; counts are sums', async () => {
    const { pool } = db
    const connected: number[] = []
    const removed: number[] = []
    const onConnect = (client: { processID?: number }) => connected.push(client.processID!)
    const onRemove = (client: { processID?: number }) => removed.push(client.processID!)
    pool.on('connect', onConnect as never).on('remove', onRemove as never)
    await setup.nothingLeased()
    const before = pool.totalCount
    const client = await pool.connect()
    await client.query('begin')
    expect(pool.totalCount - pool.idleCount).toBe(1)
    const { processID } = client as unknown as { processID: number }
    expect((await client.query(PID)).rows).toEqual([{ pid: processID }])
    client.release(true)
    await until(() => removed.includes(processID), { timeoutMs: 3_000, describe: () => '"remove" was emitted' })
    expect(pool.totalCount).toBe(before - 1)
    // As many as the primary's pool may hold, so that at least one is new.
    await Promise.all(Array.from({ length: 5 }, () => withClient(pool, async each => void (await each.query('begin')))))
    expect(connected.length).toBeGreaterThan(0)
    pool.removeListener('connect', onConnect).removeListener('remove', onRemove)
    await setup.nothingLeased()
  })

  test('sessions come and go without a trace on the pools of the nodes', async () => {
    const warnings: Error[] = []
    const listener = (warning: Error) => warnings.push(warning)
    process.on('warning', listener)
    for (let n = 0; n < 20; n++) await db.session().pool.query('select 1')
    await new Promise(setImmediate)
    process.removeListener('warning', listener)
    expect(warnings).toEqual([])
  })

  test('a terminated idle connection is replaced; "error" reaches those who listen', async () => {
    const { pool } = db
    const terminateAll = () =>
      setup.plain.primary!.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'tidemark' and pid <> pg_backend_pid()",
      )
    await pool.query('select 1')
    await setup.nothingLeased()
    // Nobody listens: nothing may crash.
    await terminateAll()
    await until(
      () =>
        pool.query('select 1').then(
          () => true,
          () => false,
        ),
      { timeoutMs: 3_000, describe: () => 'a query worked' },
    )
    const errors: Error[] = []
    const listener = (error: Error) => errors.push(error)
    pool.on('error', listener)
    await terminateAll()
    await until(() => errors.length > 0, { timeoutMs: 3_000, describe: () => '"error" was emitted' })
    expect(errors[0]).toMatchObject({ code: '57P01' })
    await until(
      () =>
        pool.query('select 1').then(
          () => true,
          () => false,
        ),
      { timeoutMs: 3_000, describe: () => 'a query worked' },
    )
    pool.removeListener('error', listener)
  })

  test('a client whose connection is terminated says so, and does not crash when nobody listens', async () => {
    for (const listening of [true, false]) {
      const events: string[] = []
      await withClient(db.pool, async client => {
        if (listening) client.on('error', () => events.push('error'))
        client.on('end', () => events.push('end'))
        await client.query('listen nothing')
        await setup.terminate((client as unknown as { processID: number }).processID)
        await until(() => events.includes('end'), { timeoutMs: 3_000, describe: () => 'the client ended' })
        expect(events.includes('error')).toBe(listening)
        // Its session state is lost, so it must not go on as if nothing had been.
        await expect(client.query('select 1')).rejects.toThrow('not queryable')
      })
      await setup.nothingLeased()
    }
  })

  test('release(error) ends what the client is running', async () => {
    const client = (await db.pool.connect()) as pg.PoolClient & { processID: number }
    await client.query('begin')
    const { processID } = client
    const running = client.query('select pg_sleep(60)').then(
      () => 'ran',
      () => 'failed',
    )
    client.release(new Error('enough'))
    expect(await running).toBe('failed')
    await setup.nothingLeased()
    await setup.terminate(processID)
  })

  test('end: queries are refused afterwards, connections are closed, transactions may end before', async () => {
    const other = await setUpAgain()
    const client = await other.pool.connect()
    await client.query('begin')
    const session = other.session()
    let ended = false
    const end = other.pool.end().then(() => {
      ended = true
    })
    expect(other.pool.ending).toBe(true)
    await expect(other.pool.query('select 1')).rejects.toThrow('after calling end on the pool')
    await expect(other.pool.connect()).rejects.toThrow('after calling end on the pool')
    await expect(called(done => other.pool.query('select 1', done))).rejects.toThrow('after calling end')
    await expect(other.pool.end()).rejects.toThrow('more than once')
    expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    await client.query('commit')
    expect(ended).toBe(false)
    client.release()
    await end
    expect(other.pool.ended).toBe(true)
    expect(other.pool.totalCount).toBe(0)
    await expect(session.query('select 1')).rejects.toThrow()
  })

  test("a session's pool may be ended; the database goes on", async () => {
    const session = db.session()
    const { pool } = session
    await pool.query('select 1')
    await pool.end()
    await expect(pool.query('select 1')).rejects.toThrow('after calling end')
    expect((await session.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    const ended = await new Promise(resolve => db.session().pool.end(() => resolve('ended')))
    expect(ended).toBe('ended')
  })

  async function setUpAgain(): Promise<Tidemark> {
    const [primary, ...replicas] = setup.cluster.urls
    return tidemark({ primary: primary!, replicas, secret: 'only for tests, sixteen bytes and more' })
  }
})
