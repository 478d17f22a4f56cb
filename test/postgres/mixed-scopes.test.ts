/** `scopes: 'tables'` beside scopes that the application gives: the two kinds meet. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { QueryOptions, Tidemark } from '../../src/engines/postgres/index.js'
import { type Cluster, startCluster } from '../../src/testing/index.js'
import { openDatabase } from '../support/database.js'

let cluster: Cluster
let db: Tidemark

beforeAll(async () => {
  cluster = await startCluster({ replicas: 1 })
  await cluster.query('primary', 'CREATE TABLE profiles (id int PRIMARY KEY, n int DEFAULT 0); CREATE TABLE photos (n int)')
  await cluster.query('primary', 'INSERT INTO profiles SELECT n FROM generate_series(1, 9) n')
  await cluster.caughtUp()
  await cluster.pause('replica-1')
  db = await openDatabase(cluster, { scopes: 'tables' })
})
afterAll(async () => {
  await db?.close()
  await cluster?.close()
})

const WRITE = 'UPDATE profiles SET n = n + 1 WHERE id = $1'
const READ = 'SELECT n FROM profiles WHERE id = $1'

async function servedBy(write: QueryOptions, read: QueryOptions, text = READ, values: unknown[] = [1]): Promise<string> {
  const session = db.session()
  await session.query(WRITE, [1], write)
  await session.query(text, values, read)
  return session.lastOutcome!.node
}

test.each<[string, QueryOptions, QueryOptions, string]>([
  ['neither has a scope of its own', {}, {}, 'primary'],
  ['only the write has one', { scope: 'profile:1' }, {}, 'primary'],
  ['only the read has one', {}, { scope: 'profile:1' }, 'primary'],
  ['both have the same', { scope: 'profile:1' }, { scope: 'profile:1' }, 'primary'],
  ['both have one, and they differ', { scope: 'profile:1' }, { scope: 'profile:2' }, 'replica-1'],
])('of one table, %s', async (_, write, read, node) => {
  expect(await servedBy(write, read)).toBe(node)
})

test('of another table, any replica serves', async () => {
  expect(await servedBy({}, {}, 'SELECT n FROM photos', [])).toBe('replica-1')
  expect(await servedBy({ scope: 'profile:1' }, {}, 'SELECT n FROM photos', [])).toBe('replica-1')
})
