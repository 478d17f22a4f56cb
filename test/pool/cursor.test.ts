import { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type pg from 'pg'
import Cursor from 'pg-cursor'
import QueryStream from 'pg-query-stream'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { NeedsPrimaryError, type Tidemark } from '../../src/engines/postgres/index.js'
import { knowsTable, type Setup, setUp, withClient } from './setup.js'

// Cursors and streams keep a portal open on one connection across round trips. They run on a fenced replica when they
// only read, and their connection is the pool's again when they have ended, however they have.

const NUMBERS = 'select n, inet_server_port() as port from numbers order by n'
interface Numbered {
  n: number
  port: number
}

let setup: Setup
let db: Tidemark

beforeAll(async () => {
  setup = await setUp()
  db = setup.db
  await db.pool.query('create table numbers (n int primary key)')
  await db.pool.query('insert into numbers select generate_series(1, 1000)')
  await setup.cluster.caughtUp()
  await knowsTable(db, 'numbers')
})

afterAll(() => setup?.close())

// However a cursor has ended, its connection comes back.
afterEach(() => setup.nothingLeased())

function nodesOf(rows: readonly Numbered[]): string[] {
  return [...new Set(rows.map(({ port }) => setup.nodeAt(port)))]
}

/** A fence that no replica reaches while `work` runs. */
async function whileReplicasStandStill<T>(work: () => Promise<T>): Promise<T> {
  await Promise.all(setup.cluster.replicas.map(name => setup.cluster.pause(name)))
  try {
    return await work()
  } finally {
    await Promise.all(setup.cluster.replicas.map(name => setup.cluster.resume(name)))
    await setup.cluster.caughtUp()
  }
}

describe('a cursor', () => {
  test('reads in parts, on one replica; the client is free again when it is closed', async () => {
    await withClient(db.session().pool, async client => {
      const cursor = client.query(new Cursor<Numbered>(NUMBERS))
      const first = await cursor.read(10)
      const second = await cursor.read(10)
      expect(first.map(row => row.n)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
      expect(second).toHaveLength(10)
      expect(nodesOf([...first, ...second])).toHaveLength(1)
      expect(nodesOf(first)[0]).toMatch(/^replica/)
      const queued = client.query('select 1 as one')
      await cursor.close()
      expect((await queued).rows).toEqual([{ one: 1 }])
    })
  })

  test('reads to the end', async () => {
    await withClient(db.session().pool, async client => {
      const cursor = client.query(new Cursor<Numbered>(NUMBERS))
      let count = 0
      for (let rows = await cursor.read(300); rows.length > 0; rows = await cursor.read(300)) count += rows.length
      expect(count).toBe(1000)
      expect(await cursor.read(10)).toEqual([])
      await cursor.close()
      expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    })
  })

  test('runs on the primary without a session, and when the replicas lack what the session wrote', async () => {
    const portal = async (pool: pg.Pool) =>
      withClient(pool, async client => {
        const cursor = client.query(new Cursor<Numbered>(NUMBERS.replace('order by n', 'order by n desc')))
        const rows = await cursor.read(1)
        await cursor.close()
        return { n: rows[0]?.n, node: nodesOf(rows)[0] }
      })
    expect(await portal(db.pool)).toEqual({ n: 1000, node: 'primary' })
    await whileReplicasStandStill(async () => {
      const session = db.session()
      await session.query('insert into numbers values (1001)')
      expect(await portal(session.pool)).toEqual({ n: 1001, node: 'primary' })
      expect((await session.run(() => portal(db.pool))).n).toBe(1001)
      // The control: the replicas really lack it.
      expect((await portal(db.session().pool)).n).toBe(1000)
      await session.query('delete from numbers where n = 1001')
    })
  })

  test('inside a transaction it sees the uncommitted, and outlives nothing', async () => {
    await withClient(db.session().pool, async client => {
      await client.query('begin')
      await client.query('insert into numbers values (-1)')
      const cursor = client.query(new Cursor<Numbered>(NUMBERS))
      const rows = await cursor.read(2)
      expect(rows.map(row => row.n)).toEqual([-1, 1])
      expect(nodesOf(rows)).toEqual(['primary'])
      await cursor.close()
      expect(client.getTransactionStatus()).toBe('T')
      await client.query('rollback')
      expect(client.getTransactionStatus()).toBe('I')
    })
  })

  test('in a read-only transaction on a replica it must not need the primary', async () => {
    await withClient(db.session().pool, async client => {
      await client.query('begin read only')
      const cursor = client.query(new Cursor<Numbered>(NUMBERS))
      expect(nodesOf(await cursor.read(5))[0]).toMatch(/^replica/)
      await cursor.close()
      const locking = client.query(new Cursor('select pg_advisory_lock(1)'))
      await expect(locking.read(1)).rejects.toThrow(NeedsPrimaryError)
      expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
      await client.query('commit')
    })
  })

  test('that writes is entered into the session, closed early or not', async () => {
    await whileReplicasStandStill(async () => {
      for (const [start, all] of [
        [2001, true],
        [3001, false],
      ] as const) {
        const session = db.session()
        await withClient(session.pool, async client => {
          const insert = `insert into numbers select generate_series(${start}, ${start + 19}) returning n`
          const cursor = client.query(new Cursor(insert))
          expect(await cursor.read(all ? 100 : 5)).toHaveLength(all ? 20 : 5)
          await cursor.close()
          const { rows } = await session.query('select count(*)::int as n from numbers where n between $1 and $2', [
            start,
            start + 19,
          ])
          expect(rows).toEqual([{ n: 20 }])
        })
        expect(session.history.writes.isZero).toBe(false)
        const { rowCount } = await setup.plain['replica-1']!.query('select from numbers where n = $1', [start])
        expect(rowCount).toBe(0)
      }
      await db.pool.query('delete from numbers where n > 2000')
    })
  })

  test('errors reach its reader; the client and its transaction go on as usual', async () => {
    await withClient(db.session().pool, async client => {
      const wrong = client.query(new Cursor('select nonsense'))
      await expect(wrong.read(1)).rejects.toMatchObject({ code: '42703' })
      // Fails while rows are being read.
      const dividing = client.query(new Cursor('select 1 / (500 - n) as q from numbers order by n'))
      await expect(dividing.read(1000)).rejects.toMatchObject({ code: '22012' })
      expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
      await client.query('begin')
      const failing = client.query(new Cursor('select nonsense'))
      await expect(failing.read(1)).rejects.toMatchObject({ code: '42703' })
      await expect(client.query('select 1')).rejects.toMatchObject({ code: '25P02' })
      await client.query('rollback')
    })
  })

  test('closed before it was sent, it is not sent', async () => {
    await withClient(db.session().pool, async client => {
      const cursor = client.query(new Cursor<Numbered>(NUMBERS))
      await cursor.close()
      expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    })
  })

  test('release(error) frees the connection although nobody closed the cursor', async () => {
    const client = await db.session().pool.connect()
    const cursor = client.query(new Cursor<Numbered>(NUMBERS))
    await cursor.read(10)
    client.release(true)
    await setup.nothingLeased()
  })

  test('many at once', async () => {
    const session = db.session()
    const count = async () => {
      const client = await session.pool.connect()
      try {
        const cursor = client.query(new Cursor<Numbered>(NUMBERS))
        let rows = 0
        for (let part = await cursor.read(200); part.length > 0; part = await cursor.read(200)) rows += part.length
        await cursor.close()
        return rows
      } finally {
        client.release()
      }
    }
    expect(await Promise.all(Array.from({ length: 30 }, count))).toEqual(Array(30).fill(1000))
    await setup.nothingLeased()
  })
})

describe('a query stream', () => {
  test('through a client: to the end, and broken off', async () => {
    await withClient(db.session().pool, async client => {
      const rows: Numbered[] = []
      for await (const row of client.query(new QueryStream(NUMBERS, [], { batchSize: 100 }))) rows.push(row)
      expect(rows).toHaveLength(1000)
      expect(nodesOf(rows)[0]).toMatch(/^replica/)
      for await (const row of client.query(new QueryStream(NUMBERS, [], { batchSize: 10 }))) {
        if (row.n === 15) break
      }
      expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    })
  })

  test('through the pool: ends, fails, is broken off; nothing stays behind', async () => {
    const { pool } = db.session()
    let count = 0
    const write = (_row: unknown, _encoding: unknown, done: () => void) => {
      count++
      done()
    }
    const counter = () => new Writable({ objectMode: true, write })
    const stream = new QueryStream(NUMBERS)
    const ended = pool.query(stream) as unknown as Promise<pg.QueryResult>
    await pipeline(stream, counter())
    expect(count).toBe(1000)
    expect((await ended).command).toBe('SELECT')
    const failing = new QueryStream('select 1 / (500 - n) as q from numbers order by n')
    const failed = pool.query(failing) as unknown as Promise<pg.QueryResult>
    await expect(pipeline(failing, counter())).rejects.toMatchObject({ code: '22012' })
    await expect(failed).rejects.toMatchObject({ code: '22012' })
    // Whoever does not look at the promise is not punished with an unhandled rejection.
    const unwatched = new QueryStream('select nonsense')
    pool.query(unwatched)
    await expect(pipeline(unwatched, counter())).rejects.toMatchObject({ code: '42703' })
    const brokenOff = new QueryStream(NUMBERS, [], { batchSize: 10 })
    pool.query(brokenOff)
    for await (const row of brokenOff) if (row.n === 5) break
    const neverRead = new QueryStream(NUMBERS)
    pool.query(neverRead)
    neverRead.destroy()
    await setup.nothingLeased()
  })

  test('a pool that has ended refuses it', async () => {
    const { pool } = db.session()
    await pool.end()
    const stream = new QueryStream(NUMBERS)
    const refused = pool.query(stream) as unknown as Promise<unknown>
    await expect(stream.toArray()).rejects.toThrow('after calling end')
    await expect(refused).rejects.toThrow('after calling end')
  })
})
