/**
 * Rule 2, capture: the position taken for a write includes its commit, in every way there is to write, and a fence at it
 * opens on a system that falls idle right after.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type PostgresSession, parseLsn, type Tidemark } from '../../src/engines/postgres/index.js'
import { replica, wait } from '../../src/index.js'
import { type Cluster, startCluster } from '../../src/testing/index.js'
import { openDatabase, portOf, until, withPort } from '../support/database.js'
import { tcpProxy } from '../support/tcp-proxy.js'

let cluster: Cluster
let db: Tidemark
const REPLICA = 'replica-1'

beforeAll(async () => {
  // The WAL writer sleeps, so that an asynchronous commit stays unflushed for as long as the tests look at it.
  cluster = await startCluster({ replicas: 1, settings: { wal_writer_delay: '10s', autovacuum: 'off' } })
  await cluster.query('primary', 'CREATE TABLE notes (id serial PRIMARY KEY, author text, body text)')
  await cluster.query(
    'primary',
    `CREATE PROCEDURE save_note(who text) LANGUAGE plpgsql AS $$ BEGIN INSERT INTO notes (author) VALUES (who); COMMIT; END $$`,
  )
  await cluster.caughtUp()
  db = await openDatabase(cluster)
})
afterAll(async () => {
  await db?.close()
  await cluster?.close()
})

const offsetOf = (session: PostgresSession) => session.history.writes.entries[0]?.offset ?? 0n
const positionOf = async (node: string, what: string) =>
  parseLsn((await cluster.query<{ lsn: string }>(node, `SELECT ${what}::text AS lsn`))[0]!.lsn)

describe('the captured position includes the commit', () => {
  const ways: Record<string, (session: PostgresSession, author: string) => Promise<unknown>> = {
    'autocommit without parameters': (session, author) => session.query(`INSERT INTO notes (author) VALUES ('${author}')`),
    'autocommit with parameters': (session, author) => session.query('INSERT INTO notes (author) VALUES ($1)', [author]),
    'a named prepared statement': (session, author) =>
      session.query({ name: 'save', text: 'INSERT INTO notes (author) VALUES ($1)', values: [author] }),
    'several statements in one string': (session, author) =>
      session.query(`INSERT INTO notes (author) VALUES ('x'); INSERT INTO notes (author) VALUES ('${author}')`),
    'a string with its own transaction': (session, author) =>
      session.query(`BEGIN; INSERT INTO notes (author) VALUES ('${author}'); COMMIT`),
    'a transaction': (session, author) => session.transaction(tx => tx.query('INSERT INTO notes (author) VALUES ($1)', [author])),
    'a transaction through the pool': async (session, author) => {
      const client = await session.pool.connect()
      await client.query('BEGIN')
      await client.query('INSERT INTO notes (author) VALUES ($1)', [author])
      await client.query('COMMIT')
      client.release()
    },
    'a writing WITH': (session, author) =>
      session.query('WITH w AS (INSERT INTO notes (author) VALUES ($1) RETURNING 1) SELECT * FROM w', [author]),
    'a procedure that commits': (session, author) => session.query('CALL save_note($1)', [author]),
    'synchronous_commit = off in this transaction only': (session, author) =>
      session.transaction(async tx => {
        await tx.query('SET LOCAL synchronous_commit = off')
        await tx.query('INSERT INTO notes (author) VALUES ($1)', [author])
      }),
  }
  for (const [name, write] of Object.entries(ways)) {
    test(name, async () => {
      await cluster.resume(REPLICA)
      await cluster.query('primary', 'SELECT pg_switch_wal()')
      await cluster.caughtUp()
      await cluster.pause(REPLICA)
      const author = `author of ${name}`
      const session = db.session()
      await write(session, author)
      const captured = offsetOf(session)
      // Everything up to here was applied before the pause: a position taken before the commit would not lie behind it.
      expect(captured).toBeGreaterThan(await positionOf(REPLICA, 'pg_last_wal_replay_lsn()'))
      // And once the replica has applied exactly that, the write is visible there.
      await cluster.query('primary', 'INSERT INTO notes (body) VALUES (NULL)')
      await cluster.resume(REPLICA)
      await until(
        async () => (await positionOf(REPLICA, 'pg_last_wal_replay_lsn()')) >= captured,
        'the replica has applied the captured position',
      )
      const rows = await cluster.query(REPLICA, 'SELECT 1 FROM notes WHERE author = $1', [author])
      expect(rows).toHaveLength(1)
    })
  }

  test('an asynchronous commit is captured behind the flush position', async () => {
    await cluster.query('primary', 'SELECT pg_switch_wal()')
    const session = db.session()
    await session.transaction(async tx => {
      await tx.query('SET LOCAL synchronous_commit = off')
      await tx.query("INSERT INTO notes (author) VALUES ('async')")
    })
    // The trap: the flush position, asked after COMMIT has returned, lies in front of the commit.
    expect(offsetOf(session)).toBeGreaterThan(await positionOf('primary', 'pg_current_wal_flush_lsn()'))
  })
})

describe('on a system that falls idle, a fence opens', () => {
  const onReplicaOnly = [replica(), wait({ budgetMs: 15_000 })]
  const opens = async (session: PostgresSession) => {
    await session.query('SELECT count(*) FROM notes', [], { ladder: onReplicaOnly })
    return session.lastOutcome?.node
  }

  test('at the start of a WAL segment, where the server reports 40 bytes too many', async () => {
    const session = db.session()
    await session.query('SELECT pg_switch_wal()')
    expect((await positionOf('primary', 'pg_current_wal_insert_lsn()')) % (16n * 1024n * 1024n)).toBe(40n)
    expect(offsetOf(session) % (16n * 1024n * 1024n)).toBe(0n)
    expect(await opens(session)).toBe(REPLICA)
  })

  test('at the start of a WAL page, where it reports 24 bytes too many', async () => {
    const session = db.session()
    const emit = (length: number) =>
      session.query("SELECT pg_logical_emit_message(false, 'test', repeat('x', $1::int), true)", [length])
    // Find the message that ends exactly at a page's end; whatever else the server logs meanwhile only costs another try.
    let reported = 0n
    for (let tries = 0; tries < 50 && reported % 8192n !== 24n; tries++) {
      await emit(8)
      const before = await positionOf('primary', 'pg_current_wal_insert_lsn()')
      await emit(8)
      const overhead = (await positionOf('primary', 'pg_current_wal_insert_lsn()')) - before - 8n
      const room = 8192n - ((before + overhead + 8n) % 8192n)
      if (room <= overhead + 8n) continue
      // A longer message has a longer header, by 8 bytes once aligned, or not: try both.
      await emit(Number(room - overhead) - (tries % 2) * 8)
      reported = await positionOf('primary', 'pg_current_wal_insert_lsn()')
    }
    expect(reported % 8192n).toBe(24n)
    expect(offsetOf(session)).toBe(reported - 24n)
    expect(await opens(session)).toBe(REPLICA)
  })
})

describe('when the answer is lost', () => {
  const ways: Record<string, (session: PostgresSession, author: string, lose: () => void) => Promise<unknown>> = {
    'of an autocommit write': (session, author, lose) => {
      lose()
      return session.query('INSERT INTO notes (author) VALUES ($1)', [author])
    },
    'of COMMIT': (session, author, lose) =>
      session.transaction(async tx => {
        await tx.query('INSERT INTO notes (author) VALUES ($1)', [author])
        lose()
      }),
  }
  for (const [name, write] of Object.entries(ways)) {
    test(`${name}, the session is uncertain and its next read asks the primary`, async () => {
      const author = `lost answer ${name}`
      const proxy = await tcpProxy(portOf(cluster.url('primary')))
      const through = await openDatabase(cluster, {
        nodes: [
          { name: 'primary', url: withPort(cluster.url('primary'), proxy.port) },
          { name: REPLICA, url: cluster.url(REPLICA) },
        ],
      })
      try {
        await cluster.pause(REPLICA)
        const session = through.session()
        const failed = expect(write(session, author, () => (proxy.deaf = true))).rejects.toThrow()
        const committed = async () =>
          (await cluster.query('primary', 'SELECT 1 FROM notes WHERE author = $1', [author])).length > 0
        await until(committed, 'the server has committed')
        proxy.cut()
        await failed
        proxy.deaf = false
        expect(session.history.uncertain).toBe(true)
        await until(() => through.status()[0]!.usable, 'the primary is used again')
        const { rows } = await session.query('SELECT author FROM notes WHERE author = $1', [author])
        expect(rows).toEqual([{ author }])
        expect(session.lastOutcome).toMatchObject({ node: 'primary', rung: 'primary', guarantee: 'read-your-writes' })
        // The primary's position settles it: from here on the fence decides again.
        expect(session.history.uncertain).toBe(false)
        expect(session.history.writes.isZero).toBe(false)
      } finally {
        await through.close()
        await proxy.close()
        await cluster.resume(REPLICA)
      }
    })
  }
})
