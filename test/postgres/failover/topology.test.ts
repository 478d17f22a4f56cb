/** A standby of a standby whose upstream is promoted, and a primary that takes no more connections. */
import pg from 'pg'
import { afterEach, expect, test } from 'vitest'
import type { Tidemark } from '../../../src/engines/postgres/index.js'
import { type Cluster, startCluster } from '../../../src/testing/index.js'
import { openDatabase, until } from '../../support/database.js'
import { failure, settled } from '../../support/failover.js'

const SAVE = 'INSERT INTO notes (body) VALUES ($1)'
const BODIES = 'SELECT body FROM notes ORDER BY body'

let cluster: Cluster
let db: Tidemark
afterEach(async () => {
  await db?.close()
  await cluster?.close()
})

test('a cascading standby whose upstream is promoted goes on serving, on the new history', async () => {
  cluster = await startCluster({ replicas: 1 })
  await cluster.query('primary', 'CREATE TABLE notes (body text)')
  expect(await cluster.addReplica({ from: 'replica-1' })).toBe('replica-2')
  await cluster.caughtUp()
  db = await openDatabase(cluster, { pollIntervalMs: 50 })
  const before = db.session()
  await before.query(SAVE, ['before'])
  await cluster.caughtUp()
  await cluster.kill('primary')
  await cluster.promote('replica-1')
  await until(() => db.status()[1]!.role === 'primary' && db.status()[1]!.usable, 'the promotion is known')
  await cluster.pause('replica-2')
  const after = db.session()
  await after.query(SAVE, ['after'])
  expect((await settled(after.query(BODIES), 'a read')).rows).toEqual([{ body: 'after' }, { body: 'before' }])
  // Control: while it has not got the write, it does not serve it.
  expect(after.lastOutcome).toMatchObject({ node: 'replica-1', guarantee: 'read-your-writes' })
  expect(await cluster.query('replica-2', BODIES)).toEqual([{ body: 'before' }])
  await cluster.resume('replica-2')
  for (const session of [after, before, db.session(before.token())]) {
    await until(async () => {
      await settled(session.query(BODIES), 'a read')
      expect(session.lastOutcome).toMatchObject({ guarantee: 'read-your-writes', possiblyLost: false })
      return session.lastOutcome!.node === 'replica-2'
    }, 'the cascading standby serves')
    expect((await settled(after.query(BODIES), 'a read')).rows).toEqual([{ body: 'after' }, { body: 'before' }])
    expect(session.history.writes.entries.map(({ lineage }) => lineage.split('/')[1])).toEqual(['2'])
  }
})

test('a primary that takes no more connections: writes fail with its error, reads go on, and both recover', async () => {
  // Of a hundred, fifteen for those who are not superusers.
  const settings = { superuser_reserved_connections: '85' }
  cluster = await startCluster({ replicas: 1, settings })
  await cluster.query('primary', 'CREATE TABLE notes (body text)')
  await cluster.query('primary', "CREATE ROLE app LOGIN PASSWORD 'app' IN ROLE pg_monitor")
  await cluster.query('primary', 'GRANT SELECT, INSERT ON notes TO app')
  await cluster.caughtUp()
  const urlOf = (name: string) => {
    const url = new URL(cluster.url(name))
    url.username = url.password = 'app'
    return url.href
  }
  const nodes = cluster.nodes.map(name => ({ name, url: urlOf(name) }))
  db = await openDatabase(cluster, { nodes, pollIntervalMs: 50, pool: { max: 3, idleTimeoutMillis: 10 } })
  const session = db.session()
  await session.query(SAVE, ['kept'])
  await cluster.caughtUp()
  await until(() => db.status().every(({ behindBytes }) => behindBytes === 0), 'the replica is known to have caught up')

  const crowd: pg.Client[] = []
  const crowdIn = async () => {
    for (;;) {
      const client = new pg.Client(urlOf('primary'))
      client.on('error', () => {})
      const refused = await failure(client.connect())
      if (refused !== undefined) {
        expect(refused).toMatchObject({ code: '53300' })
        return
      }
      crowd.push(client)
    }
  }
  try {
    // Connections that the pool gives up are taken by others.
    await until(async () => {
      await crowdIn()
      const error = await settled(failure(db.session().query(SAVE, ['x'])), 'a write')
      return (error as { code?: string } | undefined)?.code === '53300'
    }, 'a write fails')
    for (let i = 0; i < 10; i++) {
      expect(await settled(failure(db.session().query(SAVE, ['x'])), 'a write')).toMatchObject({ code: '53300' })
      expect((await settled(session.query(`SELECT count(*)::int AS n FROM notes WHERE body = 'kept'`), 'a read')).rows).toEqual([
        { n: 1 },
      ])
      expect(session.lastOutcome).toMatchObject({ node: 'replica-1', guarantee: 'read-your-writes' })
    }
    expect(crowd.length).toBeGreaterThan(0)
  } finally {
    await Promise.all(crowd.map(client => client.end()))
  }
  const author = db.session()
  await until(
    async () => (await failure(settled(author.query(SAVE, ['recovered']), 'a write'))) === undefined,
    'a write succeeds',
  )
  expect((await settled(author.query(`${BODIES} DESC LIMIT 1`), 'a read')).rows).toHaveLength(1)
  expect(await cluster.query('primary', `SELECT 1 AS one FROM notes WHERE body = 'recovered'`)).toEqual([{ one: 1 }])
})
