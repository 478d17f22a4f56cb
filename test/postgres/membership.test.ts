/** Nodes join and leave while everything runs; quorums hold through it or the change is refused. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Tidemark, TidemarkConfig } from '../../src/engines/postgres/index.js'
import { appliedOn, primary, quorum } from '../../src/index.js'
import { type Cluster, startCluster } from '../../src/testing/index.js'
import { openDatabase } from '../support/database.js'

let cluster: Cluster
const SAVE = 'INSERT INTO notes (n) VALUES ($1)'
const LATEST = 'SELECT coalesce(max(n), 0)::int AS n FROM notes'

beforeAll(async () => {
  cluster = await startCluster({ replicas: 2 })
  await cluster.query('primary', 'CREATE TABLE notes (n int)')
  await cluster.caughtUp()
})
afterAll(() => cluster?.close())

const addressOf = (name: string) => ({ name, url: cluster.url(name) })
const some = (names: readonly string[], config: Partial<TidemarkConfig> = {}) =>
  openDatabase(cluster, { nodes: names.map(addressOf), ...config })
const names = (db: Tidemark) => db.status().map(({ node }) => node)

test('a replica that joins is used, and one that leaves is not; what cannot be is refused and changes nothing', async () => {
  const db = await some(['primary', 'replica-1'])
  try {
    await db.addNode(addressOf('replica-2'))
    const served = new Set<string>()
    const read = async () => {
      const session = db.session()
      await session.query(LATEST)
      served.add(session.lastOutcome!.node)
    }
    // At once, so that both are wanted.
    await Promise.all(Array.from({ length: 40 }, read))
    expect([...served].sort()).toEqual(['replica-1', 'replica-2'])

    await expect(db.addNode(addressOf('replica-2'))).rejects.toThrow('already')
    await expect(db.addNode({ ...addressOf('replica-2'), name: 'again' })).rejects.toThrow('two addresses of the same server')
    await expect(db.removeNode('primary')).rejects.toThrow('is the primary')
    await expect(db.removeNode('nobody')).rejects.toThrow('no node "nobody"')
    expect(names(db)).toEqual(['primary', 'replica-1', 'replica-2'])

    served.clear()
    await Promise.all([db.removeNode('replica-1'), ...Array.from({ length: 20 }, read)])
    served.clear()
    for (let i = 0; i < 10; i++) await read()
    expect([...served]).toEqual(['replica-2'])
  } finally {
    await db.close()
  }
})

test('a policy of one write that cannot work is refused before anything is sent', async () => {
  const db = await some(['primary', 'replica-1'])
  try {
    const writePolicy = appliedOn('nowhere')
    await expect(db.session().query(SAVE, [9], { writePolicy })).rejects.toThrow('names neither a node')
    const inside = db.session().transaction(transaction => transaction.query(SAVE, [9]), { writePolicy })
    await expect(inside).rejects.toThrow('names neither a node')
    expect(await cluster.query('primary', 'SELECT FROM notes WHERE n = 9')).toEqual([])
  } finally {
    await db.close()
  }
})

test('fixed quorums that would not meet with one node more refuse it, with the numbers; a majority grows along', async () => {
  const fixed = await some(['primary', 'replica-1'], { ladder: [quorum(1), primary()], writePolicy: quorum(2) })
  try {
    await expect(fixed.addNode(addressOf('replica-2'))).rejects.toThrow(/acknowledged by 2 .* 1 of 3 nodes/)
    await expect(fixed.removeNode('replica-1')).rejects.toThrow('a quorum of 2 can never be reached: there are 1 nodes')
    expect(names(fixed)).toEqual(['primary', 'replica-1'])
  } finally {
    await fixed.close()
  }
  // What counts is where the writes are that were acknowledged before: on two nodes, of which one read need ask neither.
  const all = await some(['primary', 'replica-1'], { ladder: [quorum(1), primary()], writePolicy: appliedOn('all') })
  try {
    await expect(all.addNode(addressOf('replica-2'))).rejects.toThrow(/acknowledged by 2 .* 1 of 3 nodes/)
  } finally {
    await all.close()
  }
  const db = await some(['primary', 'replica-1'], { preset: 'quorum' })
  try {
    // Of two nodes both must have it, of three two: with one of them held back, every write is read all the same.
    await cluster.pause('replica-2')
    await db.session().query(SAVE, [1])
    await db.addNode(addressOf('replica-2'))
    for (let n = 2; n < 6; n++) {
      await db.session().query(SAVE, [n])
      for (let i = 0; i < 6; i++) expect((await db.session().query(LATEST)).rows).toEqual([{ n }])
    }
    // Control: the one that is held back has none of them.
    expect(await cluster.query('replica-2', LATEST)).toEqual([{ n: 0 }])
    await db.removeNode('replica-2')
    for (let i = 0; i < 6; i++) expect((await db.session().query(LATEST)).rows).toEqual([{ n: 5 }])
  } finally {
    await db.close()
    await cluster.resume('replica-2')
  }
})
