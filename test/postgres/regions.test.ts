/** Routers prefer their own region; a session that roams keeps its guarantee; what is nearer, a short wait or another region. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Tidemark } from '../../src/engines/postgres/index.js'
import { type Cluster, startCluster } from '../../src/testing/index.js'
import { openDatabase, until } from '../support/database.js'

let cluster: Cluster
const SAVE = 'INSERT INTO notes (n) VALUES ($1)'
const LATEST = 'SELECT coalesce(max(n), 0)::int AS n FROM notes'
const FAR_MS = 80

beforeAll(async () => {
  cluster = await startCluster({ replicas: 2, links: true })
  await cluster.query('primary', 'CREATE TABLE notes (n int)')
  await cluster.caughtUp()
})
afterAll(() => cluster?.close())

/** The primary and replica-1 are in `us`, replica-2 in `eu`. */
const regions = { primary: 'us', 'replica-1': 'us', 'replica-2': 'eu' } as const
const openIn = (region: string): Promise<Tidemark> =>
  openDatabase(cluster, {
    nodes: Object.entries(regions).map(([name, at]) => ({ name, region: at, url: cluster.url(name) })),
    region,
    pollIntervalMs: 50,
  })

async function servedBy(db: Tidemark, token?: string) {
  const session = db.session(token)
  const { rows } = await session.query<{ n: number }>(LATEST)
  return { n: rows[0]!.n, ...session.lastOutcome! }
}

test('reads stay in their region, also when another one has less to do', async () => {
  const db = await openIn('eu')
  try {
    const served = await Promise.all(Array.from({ length: 40 }, () => servedBy(db)))
    expect(new Set(served.map(({ node }) => node))).toEqual(new Set(['replica-2']))
  } finally {
    await db.close()
  }
})

test('a session that roams sees its write: in a region that has it at home, in one that has not by crossing', async () => {
  const [us, eu] = await Promise.all([openIn('us'), openIn('eu')])
  try {
    await cluster.pause('replica-2')
    const session = us.session()
    await session.query(SAVE, [1])
    const token = session.token()
    await cluster.caughtUp('replica-1')
    await until(
      () => eu.status().some(({ node, behindBytes }) => node === 'replica-1' && behindBytes === 0),
      'eu knows that us has it',
    )
    // The delay of the paused replica has been seen by now, or soon: no wait is worth it.
    const away = await servedBy(eu, token)
    expect(away).toMatchObject({ n: 1, guarantee: 'read-your-writes' })
    expect(['replica-1', 'primary']).toContain(away.node)
    expect(await servedBy(us, token)).toMatchObject({ n: 1, node: 'replica-1' })
    // Control: the replica at home has not got it.
    expect((await servedBy(eu)).n).toBe(0)
    await cluster.resume('replica-2')
    await cluster.caughtUp('replica-2')
    await until(async () => (await servedBy(eu, token)).node === 'replica-2', 'once it has, reads stay at home')
  } finally {
    await cluster.resume('replica-2')
    await Promise.all([us.close(), eu.close()])
  }
})

test('with a region far away and the own replica hardly behind, the read waits at home rather than cross', async () => {
  for (const name of ['primary', 'replica-1']) await cluster.delay(name, FAR_MS)
  await cluster.lag('replica-2', 20)
  const eu = await openIn('eu')
  try {
    const nodes: string[] = []
    for (let n = 2; n < 12; n++) {
      const session = eu.session()
      await session.query(SAVE, [n])
      const { rows } = await session.query<{ n: number }>(LATEST)
      expect(rows).toEqual([{ n }])
      nodes.push(session.lastOutcome!.node)
    }
    // Nearly all: a wait ends with what crossing would cost, and a loaded machine may be late.
    expect(nodes.filter(node => node === 'replica-2').length).toBeGreaterThan(nodes.length / 2)
  } finally {
    await eu.close()
    await cluster.lag('replica-2', 0)
    for (const name of ['primary', 'replica-1']) await cluster.heal(name)
  }
})
