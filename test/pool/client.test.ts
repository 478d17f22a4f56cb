import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { NeedsPrimaryError, type Tidemark } from '../../src/engines/postgres/index.js'
import { until } from '../../src/testing/until.js'
import { called, createNotes, type Setup, setUp, withClient } from './setup.js'

// Where the statements of `db.pool` and of its clients really run, and what ties a client to a connection.

const WHERE = 'select inet_server_port() as port'

let setup: Setup
let db: Tidemark

beforeAll(async () => {
  setup = await setUp()
  db = setup.db
  await createNotes(setup)
})

afterAll(() => setup?.close())

describe('where statements run', () => {
  test('db.pool: the primary without a session, the session inside session.run', async () => {
    expect(await setup.nodeOf(db.pool)).toBe('primary')
    const session = db.session()
    await session.run(async () => {
      expect(db.currentSession).toBe(session)
      expect(await setup.nodeOf(db.pool)).toMatch(/^replica/)
      await Promise.all([1, 2].map(async () => expect(await setup.nodeOf(db.pool)).toMatch(/^replica/)))
      const viaCallback = await called<{ port: number }>(done => db.pool.query(WHERE, done))
      expect(setup.nodeAt(viaCallback[0]!.port)).toMatch(/^replica/)
    })
    expect(db.currentSession).toBeUndefined()
    expect(await setup.nodeOf(db.pool)).toBe('primary')
    expect(await setup.nodeOf(db.session().pool)).toMatch(/^replica/)
    expect(await setup.nodeOf(db.eventual.pool)).toMatch(/^replica/)
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
      expect(await setup.nodeOf(client)).toMatch(/^replica/)
      await client.query('begin')
      expect(await setup.nodeOf(client)).toBe('primary')
      await client.query("insert into notes (text) values ('uncommitted')")
      expect((await client.query("select text from notes where text = 'uncommitted'")).rowCount).toBe(1)
      expect((await session.query("select text from notes where text = 'uncommitted'")).rowCount).toBe(0)
      await client.query('rollback')
      expect((await client.query("select text from notes where text = 'uncommitted'")).rowCount).toBe(0)
      expect(await setup.nodeOf(client)).toMatch(/^replica/)
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
      expect(client.getTransactionStatus()).toBe('I')
      expect((client as unknown as { processID: number | null }).processID).toBeNull()
    })
    await setup.nobodyInTransaction()
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
    await expect(db.pool.query(undone)).rejects.toMatchObject({ code: '42703' })
    await setup.nothingLeased()
    await setup.nobodyInTransaction()
    await Promise.all(Array.from({ length: 20 }, () => db.pool.query('select 1')))
  })
})

describe('session state ties a client until it is released, and goes with it', () => {
  test('SET', async () => {
    const client = await db.session().pool.connect()
    await client.query("set application_name = 'changed'")
    expect(await setup.nodeOf(client)).toBe('primary')
    expect((await client.query('show application_name')).rows).toEqual([{ application_name: 'changed' }])
    await client.query('begin')
    await client.query('commit')
    expect((await client.query('show application_name')).rows).toEqual([{ application_name: 'changed' }])
    client.release()
    await setup.nothingLeased()
    const names = await Promise.all(Array.from({ length: 10 }, () => db.pool.query('show application_name')))
    expect(new Set(names.map(({ rows }) => rows[0].application_name))).toEqual(new Set(['tidemark']))
  })

  test('SET LOCAL ends with its transaction, and so does the tie', async () => {
    await withClient(db.session().pool, async client => {
      await client.query('begin')
      await client.query("set local application_name = 'local'")
      expect((await client.query('show application_name')).rows).toEqual([{ application_name: 'local' }])
      await client.query('commit')
      expect((client as unknown as { processID: number | null }).processID).toBeNull()
    })
  })

  test('a temporary table', async () => {
    const client = await db.session().pool.connect()
    await client.query('create temporary table mine (id int)')
    await client.query('insert into mine values (1)')
    expect((await client.query('select id from mine')).rows).toEqual([{ id: 1 }])
    client.release()
    await setup.nothingLeased()
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
    await setup.nothingLeased()
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
    await setup.nothingLeased()
    const listening = "select count(*)::int as n from pg_stat_activity where query = 'listen news'"
    const gone = async () => (await setup.plain.primary!.query(listening)).rows[0].n === 0
    await until(gone, { timeoutMs: 3_000, describe: () => 'nobody listened' })
  })

  test('PREPARE and EXECUTE', async () => {
    const client = await db.session().pool.connect()
    await client.query('prepare plan as select $1::int + 1 as n')
    expect((await client.query('execute plan(1)')).rows).toEqual([{ n: 2 }])
    client.release()
    await setup.nothingLeased()
    const again = await Promise.allSettled(Array.from({ length: 8 }, () => db.pool.query('execute plan(1)')))
    expect(again.every(({ status }) => status === 'rejected')).toBe(true)
  })
})

describe('read-only transactions', () => {
  test('run on one replica within a session, on the primary without one', async () => {
    await withClient(db.session().pool, async client => {
      await client.query('begin read only')
      const nodes = [await setup.nodeOf(client), await setup.nodeOf(client), await setup.nodeOf(client)]
      expect(nodes[0]).toMatch(/^replica/)
      expect(new Set(nodes).size).toBe(1)
      await client.query('savepoint here')
      await client.query("set local statement_timeout = '5s'")
      await client.query('commit')
      await client.query('begin isolation level serializable read only')
      expect(await setup.nodeOf(client)).toBe('primary')
      await client.query('commit')
      await client.query('begin read only /* tidemark: primary */')
      expect(await setup.nodeOf(client)).toBe('primary')
      await client.query('commit')
    })
    await withClient(db.pool, async client => {
      await client.query('begin read only')
      expect(await setup.nodeOf(client)).toBe('primary')
      await client.query('commit')
    })
    await setup.nothingLeased()
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
      await expect(client.query(needing[2]!)).rejects.toThrow('it uses something that may write')
      await expect(client.query(needing[4]!)).rejects.toThrow('it leaves state behind')
      const { rows } = await client.query("select count(*)::int as n from notes where text = 'no'")
      expect(rows).toEqual([{ n: 0 }])
      await client.query('commit')
    })
    await setup.nothingLeased()
  })

  test('are fenced: with a lagging replica they see what the session has written', async () => {
    await Promise.all(setup.cluster.replicas.map(name => setup.cluster.lag(name, 1_000)))
    try {
      const session = db.session()
      await session.query("insert into notes (text) values ('fenced')")
      await withClient(session.pool, async client => {
        await client.query('begin read only')
        expect(await setup.nodeOf(client)).toBe('primary')
        expect((await client.query("select from notes where text = 'fenced'")).rowCount).toBe(1)
        await client.query('commit')
      })
    } finally {
      await Promise.all(setup.cluster.replicas.map(name => setup.cluster.lag(name, 0)))
      await setup.cluster.caughtUp()
    }
  })
})

describe('a deadline', () => {
  test('ends a statement that runs in a transaction, which is then rolled back', async () => {
    const session = db.session()
    const sleeping = session.transaction(
      async transaction => {
        await transaction.query("insert into notes (text) values ('too late')")
        await transaction.query('select pg_sleep(60)')
      },
      { timeoutMs: 500 },
    )
    await expect(sleeping).rejects.toMatchObject({ name: 'TimeoutError' })
    expect((await db.pool.query("select from notes where text = 'too late'")).rowCount).toBe(0)
    await setup.nothingLeased()
    await setup.nobodyInTransaction()
  })
})
