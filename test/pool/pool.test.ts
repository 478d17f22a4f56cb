import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Tidemark } from '../../src/engines/postgres/index.js'
import { NeedsPrimaryError } from '../../src/engines/postgres/index.js'
import { until } from '../../src/testing/until.js'
import { type Setup, setUp } from './setup.js'

// What an application that knows nothing of Tidemark may expect of `db.pool`, and where its statements really run.

const WHERE = 'select inet_server_port() as port'
const PID = 'select pg_backend_pid() as pid'
let setup: Setup
let db: Tidemark

beforeAll(async () => {
  setup = await setUp()
  db = setup.db
  await db.pool.query('create table notes (id serial primary key, text text not null unique)')
  await db.pool.query('create table parents (id int primary key)')
  await db.pool.query('create table children (parent int references parents deferrable initially deferred)')
  await db.pool.query(
    'create function add_note(note text) returns int language sql as $$ insert into notes (text) values (note) returning id $$',
  )
  await setup.cluster.caughtUp()
  await knowsTheCatalog()
})

afterAll(() => setup?.close())

/** DDL is noticed a moment later: until then a new table is unknown, and read from the primary. */
async function knowsTheCatalog(): Promise<void> {
  const reads = async () => {
    const session = db.session()
    await session.query('select count(*) from notes')
    return session.lastOutcome?.node !== 'primary'
  }
  await until(reads, { timeoutMs: 3_000, describe: () => 'the new tables were known' })
}

async function nodeOf(queryable: { query(text: string): Promise<pg.QueryResult> }): Promise<string> {
  const { rows } = await queryable.query(WHERE)
  return setup.nodeAt(rows[0].port)
}

/** Checks a client out and gives it back whatever happens. */
async function withClient<T>(pool: pg.Pool, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect()
  try {
    return await work(client)
  } finally {
    client.release()
  }
}

/** All of Tidemark's connections are idle: nothing is checked out behind the facade. */
async function nothingLeased(): Promise<void> {
  const idle = async () => db.pool.idleCount === db.pool.totalCount && db.pool.waitingCount === 0
  await until(idle, {
    timeoutMs: 3_000,
    describe: () => `${db.pool.totalCount - db.pool.idleCount} leased connections came back`,
  })
}

/** On every connection of Tidemark's pools to the primary: nobody is left in a transaction. */
async function nobodyInTransaction(): Promise<void> {
  const { rows } = await setup.plain.primary!.query(
    "select state, query from pg_stat_activity where application_name = 'tidemark' and state like 'idle in transaction%'",
  )
  expect(rows).toEqual([])
}

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
  })

  test('a named statement runs on whichever node it comes to', async () => {
    const named = { name: 'where-am-i', text: `${WHERE}, $1::int as n` }
    const session = db.session()
    const nodes = new Set<string>()
    for (let n = 0; n < 12; n++) {
      const { rows } = await session.pool.query(named, [n])
      expect(rows[0].n).toBe(n)
      nodes.add(setup.nodeAt(rows[0].port))
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
    await nothingLeased()
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
    await nothingLeased()
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
    await nothingLeased()
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
    await nothingLeased()
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
    await nothingLeased()
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
    await nothingLeased()
  })

  test('a terminated idle connection is replaced; "error" reaches those who listen', async () => {
    const { pool } = db
    const terminateAll = () =>
      setup.plain.primary!.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'tidemark' and pid <> pg_backend_pid()",
      )
    await pool.query('select 1')
    await nothingLeased()
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
      const client = (await db.pool.connect()) as pg.PoolClient & { processID: number }
      const events: string[] = []
      if (listening) client.on('error', () => events.push('error'))
      client.on('end', () => events.push('end'))
      await client.query('listen nothing')
      await setup.plain.primary!.query('select pg_terminate_backend($1)', [client.processID])
      await until(() => events.includes('end'), { timeoutMs: 3_000, describe: () => 'the client ended' })
      expect(events).toEqual(listening ? ['error', 'end'] : ['end'])
      // Its session state is lost, so it must not go on as if nothing had been.
      await expect(client.query('select 1')).rejects.toThrow('not queryable')
      client.release()
      await nothingLeased()
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
    await nothingLeased()
    await setup.plain.primary!.query('select pg_terminate_backend($1)', [processID])
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
    const { tidemark } = await import('../../src/engines/postgres/index.js')
    const [primary, ...replicas] = setup.cluster.urls
    return tidemark({ primary: primary!, replicas, secret: 'only for tests, sixteen bytes and more' })
  }
})

describe('where statements run', () => {
  test('db.pool: the primary without a session, the session inside session.run', async () => {
    expect(await nodeOf(db.pool)).toBe('primary')
    const session = db.session()
    await session.run(async () => {
      expect(db.currentSession).toBe(session)
      expect(await nodeOf(db.pool)).toMatch(/^replica/)
      await Promise.all([1, 2].map(async () => expect(await nodeOf(db.pool)).toMatch(/^replica/)))
      const viaCallback = await called<{ port: number }>(done => db.pool.query(WHERE, done))
      expect(setup.nodeAt(viaCallback[0]!.port)).toMatch(/^replica/)
    })
    expect(db.currentSession).toBeUndefined()
    expect(await nodeOf(db.pool)).toBe('primary')
    expect(await nodeOf(db.session().pool)).toMatch(/^replica/)
    expect(await nodeOf(db.eventual.pool)).toMatch(/^replica/)
  })

  test('a callback runs in the scope of the call', async () => {
    const session = db.session()
    const seen = await session.run(
      () => new Promise(resolve => db.pool.query('select 1', () => db.pool.query('select 2', () => resolve(db.currentSession)))),
    )
    expect(seen).toBe(session)
  })

  test('a checked-out client routes statement by statement until a transaction ties it', async () => {
    const session = db.session()
    await withClient(session.pool, async client => {
      expect(await nodeOf(client)).toMatch(/^replica/)
      await client.query('begin')
      expect(await nodeOf(client)).toBe('primary')
      await client.query("insert into notes (text) values ('uncommitted')")
      expect((await client.query("select text from notes where text = 'uncommitted'")).rowCount).toBe(1)
      expect((await session.query("select text from notes where text = 'uncommitted'")).rowCount).toBe(0)
      await client.query('rollback')
      expect((await client.query("select text from notes where text = 'uncommitted'")).rowCount).toBe(0)
      expect(await nodeOf(client)).toMatch(/^replica/)
    })
    expect(session.history.writes.isZero).toBe(true)
  })

  test('savepoints, and a transaction that has failed', async () => {
    await withClient(db.session().pool, async client => {
      await client.query('begin')
      await client.query("insert into notes (text) values ('kept')")
      await client.query('savepoint here')
      await client.query("insert into notes (text) values ('undone')")
      await expect(client.query('select nonsense')).rejects.toMatchObject({ code: '42703' })
      expect(client.getTransactionStatus()).toBe('E')
      await expect(client.query('select 1')).rejects.toMatchObject({ code: '25P02' })
      await client.query('rollback to savepoint here')
      expect(client.getTransactionStatus()).toBe('T')
      await client.query('commit')
      expect(client.getTransactionStatus()).toBe('I')
      const { rows } = await client.query("select text from notes where text in ('kept', 'undone')")
      expect(rows).toEqual([{ text: 'kept' }])
      await client.query('begin')
      await expect(client.query('select nonsense')).rejects.toMatchObject({ code: '42703' })
      expect((await client.query('commit')).command).toBe('ROLLBACK')
    })
  })

  test('a commit that fails frees the client', async () => {
    await withClient(db.session().pool, async client => {
      await client.query('begin')
      await client.query('insert into children values (42)')
      await expect(client.query('commit')).rejects.toMatchObject({ code: '23503' })
      expect(await nodeOf(client)).toMatch(/^replica/)
    })
    await nobodyInTransaction()
  })

  test('no transaction gets into the pool, however it was left', async () => {
    const leftOpen = await db.pool.connect()
    await leftOpen.query('begin')
    leftOpen.release()
    const failed = await db.pool.connect()
    await expect(failed.query('begin; select nonsense')).rejects.toMatchObject({ code: '42703' })
    expect(failed.getTransactionStatus()).toBe('E')
    failed.release()
    const slow = await db.pool.connect()
    // Undoing takes the server a moment: the error is told long before the state of the transaction.
    const undone = 'begin; insert into parents select generate_series(1000, 60000); select nonsense'
    await expect(slow.query(undone)).rejects.toMatchObject({ code: '42703' })
    slow.release()
    await nothingLeased()
    await nobodyInTransaction()
    await Promise.all(Array.from({ length: 20 }, () => db.pool.query('select 1')))
  })
})

describe('session state ties a client until it is released, and goes with it', () => {
  test('SET', async () => {
    const client = await db.session().pool.connect()
    await client.query("set application_name = 'changed'")
    expect(await nodeOf(client)).toBe('primary')
    expect((await client.query('show application_name')).rows).toEqual([{ application_name: 'changed' }])
    await client.query('begin')
    await client.query('commit')
    expect((await client.query('show application_name')).rows).toEqual([{ application_name: 'changed' }])
    client.release()
    await nothingLeased()
    const names = await Promise.all(Array.from({ length: 10 }, () => db.pool.query('show application_name')))
    expect(new Set(names.map(({ rows }) => rows[0].application_name))).toEqual(new Set(['tidemark']))
  })

  test('SET LOCAL ends with its transaction, and so does the tie', async () => {
    await withClient(db.session().pool, async client => {
      await client.query('begin')
      await client.query("set local application_name = 'local'")
      expect((await client.query('show application_name')).rows).toEqual([{ application_name: 'local' }])
      await client.query('commit')
      expect(await nodeOf(client)).toMatch(/^replica/)
    })
  })

  test('a temporary table', async () => {
    const client = await db.session().pool.connect()
    await client.query('create temporary table mine (id int)')
    await client.query('insert into mine values (1)')
    expect((await client.query('select id from mine')).rows).toEqual([{ id: 1 }])
    client.release()
    await nothingLeased()
    await expect(db.pool.query('select id from mine')).rejects.toMatchObject({ code: '42P01' })
  })

  test('an advisory lock is held by the client and freed with it', async () => {
    const held = 'select count(*)::int as n from pg_locks where locktype = $1 and objid = 4711'
    const client = await db.session().pool.connect()
    await client.query('select pg_advisory_lock(4711)')
    expect((await setup.plain.primary!.query(held, ['advisory'])).rows).toEqual([{ n: 1 }])
    await client.query('select 1')
    expect((await setup.plain.primary!.query(held, ['advisory'])).rows).toEqual([{ n: 1 }])
    client.release()
    await nothingLeased()
    const freed = async () => (await setup.plain.primary!.query(held, ['advisory'])).rows[0].n === 0
    await until(freed, { timeoutMs: 3_000, describe: () => 'the lock was freed' })
  })

  test('LISTEN brings notifications; notices of a tied client arrive', async () => {
    const client = await db.session().pool.connect()
    const heard: string[] = []
    client.on('notification', ({ channel, payload }) => heard.push(`${channel}: ${payload}`))
    client.on('notice', ({ message }) => heard.push(`notice: ${message}`))
    await client.query('listen news')
    await client.query("do $$ begin raise notice 'mind'; end $$")
    await db.pool.query("notify news, 'hello'")
    await until(() => heard.length === 2, { timeoutMs: 3_000, describe: () => `two messages had come: ${heard}` })
    expect(heard).toEqual(['notice: mind', 'news: hello'])
    client.release()
    await nothingLeased()
    const listening = "select count(*)::int as n from pg_stat_activity where query = 'listen news'"
    const gone = async () => (await setup.plain.primary!.query(listening)).rows[0].n === 0
    await until(gone, { timeoutMs: 3_000, describe: () => 'nobody listened' })
  })

  test('PREPARE and EXECUTE', async () => {
    const client = await db.session().pool.connect()
    await client.query('prepare plan as select $1::int + 1 as n')
    expect((await client.query('execute plan(1)')).rows).toEqual([{ n: 2 }])
    client.release()
    await nothingLeased()
    const again = await Promise.allSettled(Array.from({ length: 8 }, () => db.pool.query('execute plan(1)')))
    expect(again.every(({ status }) => status === 'rejected')).toBe(true)
  })
})

describe('read-only transactions', () => {
  test('run on one replica within a session, on the primary without one', async () => {
    await withClient(db.session().pool, async client => {
      await client.query('begin read only')
      const nodes = [await nodeOf(client), await nodeOf(client), await nodeOf(client)]
      expect(nodes[0]).toMatch(/^replica/)
      expect(new Set(nodes).size).toBe(1)
      await client.query('savepoint here')
      await client.query("set local statement_timeout = '5s'")
      await client.query('commit')
      await client.query('begin isolation level serializable read only')
      expect(await nodeOf(client)).toBe('primary')
      await client.query('commit')
      await client.query('begin read only /* tidemark: primary */')
      expect(await nodeOf(client)).toBe('primary')
      await client.query('commit')
    })
    await withClient(db.pool, async client => {
      await client.query('begin read only')
      expect(await nodeOf(client)).toBe('primary')
      await client.query('commit')
    })
    await nothingLeased()
  })

  test('refuse what needs the primary, and go on', async () => {
    await withClient(db.session().pool, async client => {
      await client.query('begin read only')
      const needing = [
        "insert into notes (text) values ('no')",
        'select pg_advisory_lock(1)',
        "select add_note('no')",
        'create table no (id int)',
        "set application_name = 'stays on this replica'",
        'commit and chain',
      ]
      for (const text of needing) await expect(client.query(text), text).rejects.toThrow(NeedsPrimaryError)
      await expect(client.query(needing[0]!)).rejects.toMatchObject({ code: 'TIDEMARK_NEEDS_PRIMARY' })
      const { rows } = await client.query("select count(*)::int as n from notes where text = 'no'")
      expect(rows).toEqual([{ n: 0 }])
      await client.query('commit')
    })
    await nothingLeased()
  })

  test('are fenced: with a lagging replica they see what the session has written', async () => {
    await Promise.all(setup.cluster.replicas.map(name => setup.cluster.lag(name, 1_000)))
    try {
      const session = db.session()
      await session.query("insert into notes (text) values ('fenced')")
      await withClient(session.pool, async client => {
        await client.query('begin read only')
        expect(await nodeOf(client)).toBe('primary')
        expect((await client.query("select from notes where text = 'fenced'")).rowCount).toBe(1)
        await client.query('commit')
      })
    } finally {
      await Promise.all(setup.cluster.replicas.map(name => setup.cluster.lag(name, 0)))
      await setup.cluster.caughtUp()
    }
  })
})

describe('what a client commits belongs to the session', () => {
  beforeAll(async () => {
    await Promise.all(setup.cluster.replicas.map(name => setup.cluster.lag(name, 300)))
  })
  afterAll(async () => {
    await Promise.all(setup.cluster.replicas.map(name => setup.cluster.lag(name, 0)))
    await setup.cluster.caughtUp()
  })

  const ways: Record<string, (client: pg.PoolClient, text: string) => Promise<unknown>> = {
    'BEGIN and COMMIT': async (client, text) => {
      await client.query('begin')
      await client.query('insert into notes (text) values ($1)', [text])
      await client.query('commit')
    },
    'one text': (client, text) => client.query(`begin; insert into notes (text) values ('${text}'); commit`),
    autocommit: (client, text) => client.query('insert into notes (text) values ($1)', [text]),
    'autocommit of a tied client': async (client, text) => {
      await client.query("set application_name = 'tied'")
      await client.query('insert into notes (text) values ($1)', [text])
    },
    'a writing function of a tied client': async (client, text) => {
      await client.query("set application_name = 'tied'")
      await client.query('select add_note($1)', [text])
    },
    'COMMIT AND CHAIN, with the next transaction still open': async (client, text) => {
      await client.query('begin')
      await client.query('insert into notes (text) values ($1)', [text])
      await client.query('commit and chain')
    },
    'a writing cursor in a transaction': async (client, text) => {
      await client.query('begin')
      await client.query(`declare c cursor for select add_note('${text}')`)
      await client.query('fetch all from c')
      await client.query('commit')
    },
    "the driver's own Query": (client, text) =>
      new Promise((resolve, reject) => {
        const query = client.query(new pg.Query(`insert into notes (text) values ('${text}')`))
        query.on('end', resolve).on('error', reject)
      }),
  }
  for (const [name, write] of Object.entries(ways)) {
    test(name, async () => {
      const session = db.session()
      const text = `written by ${name.replaceAll("'", '')}`
      await session.run(async () => {
        const client = await db.pool.connect()
        try {
          await write(client, text)
          expect((await db.pool.query('select from notes where text = $1', [text])).rowCount).toBe(1)
          expect(session.lastOutcome?.node).toBe('primary')
        } finally {
          client.release()
        }
      })
      expect(session.history.writes.isZero).toBe(false)
      // The control: the lagging replicas do not have it yet.
      const { rowCount } = await setup.plain['replica-1']!.query('select from notes where text = $1', [text])
      expect(rowCount).toBe(0)
    })
  }

  test('each session gets what was committed under it, also on a client tied long before', async () => {
    const client = await db.pool.connect()
    await client.query("set application_name = 'of nobody'")
    const sessions = [db.session(), db.session()]
    for (const [n, session] of sessions.entries()) {
      await session.run(() => client.query('insert into notes (text) values ($1)', [`of session ${n}`]))
      const { rowCount } = await session.query('select from notes where text = $1', [`of session ${n}`])
      expect(rowCount).toBe(1)
    }
    client.release()
    const bystander = db.session()
    await bystander.query('select count(*) from notes')
    expect(bystander.lastOutcome?.node).toMatch(/^replica/)
  })

  test('reading transactions commit nothing: the next read need not wait', async () => {
    const session = db.session()
    await withClient(session.pool, async client => {
      await client.query('begin')
      await client.query('select count(*) from notes')
      await client.query('commit')
    })
    expect(session.history.writes.isZero).toBe(true)
    expect(await nodeOf(session)).toMatch(/^replica/)
  })

  test('monotonic reads: what a transaction on the primary has shown is not unseen afterwards', async () => {
    for (const tie of ['begin', "set application_name = 'tied'"]) {
      const session = db.session(undefined, { guarantee: 'monotonic-reads' })
      const text = `seen after ${tie}`
      await db.pool.query('insert into notes (text) values ($1)', [text])
      await withClient(session.pool, async client => {
        await client.query(tie)
        expect((await client.query('select from notes where text = $1', [text])).rowCount).toBe(1)
        // While the transaction is still open.
        expect((await session.query('select from notes where text = $1', [text])).rowCount).toBe(1)
      })
    }
  })
})

/** The rows that a callback was given. */
function called<R = unknown>(ask: (done: (error: Error, result: pg.QueryResult) => void) => void): Promise<R[]> {
  return new Promise((resolve, reject) => {
    ask((error, result) => (error ? reject(error) : resolve(result.rows as R[])))
  })
}
