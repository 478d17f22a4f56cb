/** Nodes that restart, crash, fall silent or are cut off under load: nobody misses a write, nobody hangs, and they are used again. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Tidemark } from '../../../src/engines/postgres/index.js'
import { type Cluster, startCluster } from '../../../src/testing/index.js'
import { openDatabase, until } from '../../support/database.js'
import { failure, type Load, load, settled, type Tally } from '../../support/failover.js'

const SAVE = 'INSERT INTO notes (body) VALUES ($1)'
const COUNT = 'SELECT count(*)::int AS n FROM notes WHERE body = $1'

let cluster: Cluster
let db: Tidemark

beforeAll(async () => {
  cluster = await startCluster({ replicas: 2, links: true })
  await cluster.query('primary', 'CREATE TABLE counters (author text, n int)')
  await cluster.query('primary', 'CREATE TABLE notes (body text)')
  await cluster.query('primary', 'CREATE INDEX ON counters (author, n)')
  await cluster.caughtUp()
  // The driver's own time-out ends what is sent to a server that has fallen silent.
  const pool = { max: 5, query_timeout: 2_000 }
  db = await openDatabase(cluster, { pollIntervalMs: 100, pollTimeoutMs: 300, connectTimeoutMs: 1_000, pool })
})
afterAll(async () => {
  await db?.close()
  await cluster?.close()
})

const statusOf = (node: string) => db.status().find(status => status.node === node)!
const served = ({ nodes }: Tally, node: string) => nodes[node] ?? 0
const moreFrom = (tally: Tally, node: string) => {
  const before = served(tally, node)
  return until(() => served(tally, node) > before + 10, `${node} serves`)
}

interface Fault {
  readonly node: 'primary' | 'replica-1'
  strike(): Promise<void>
  /** It is over when this has come back, and until then the node is of no use. */
  mend(): Promise<void>
}
const faults: Record<string, Fault> = {}
for (const node of ['replica-1', 'primary'] as const) {
  const start = () => cluster.start(node)
  const heal = () => cluster.heal(node)
  faults[`${node} is restarted`] = { node, strike: () => cluster.stop(node), mend: start }
  faults[`${node} crashes`] = { node, strike: () => cluster.kill(node), mend: start }
  faults[`${node} is cut off`] = { node, strike: () => cluster.cut(node), mend: heal }
  faults[`${node} accepts and never answers`] = { node, strike: () => cluster.halfOpen(node), mend: heal }
}

describe('under load', () => {
  let working: Load | undefined
  afterEach(async () => {
    await working?.stop()
    await cluster.lag('replica-2', 0)
    await cluster.caughtUp()
  })

  for (const [name, { node, strike, mend }] of Object.entries(faults)) {
    test(`${name}: nobody misses a write or hangs, and it is used again`, async () => {
      working = load(db, 4, name)
      const { tally } = working
      await until(() => tally.reads > 20, 'work is done')
      await moreFrom(tally, node === 'primary' ? 'replica-1' : node)
      // So that there is something to miss.
      await cluster.lag('replica-2', 50)

      // What replicas can serve, whatever becomes of the primary.
      const reader = db.session()
      await reader.query(SAVE, [name])
      await cluster.caughtUp()
      await until(async () => {
        await reader.query(COUNT, [name])
        return /^replica/.test(reader.lastOutcome!.node)
      }, 'the replicas are known to have it')

      await strike()
      await until(() => !statusOf(node).usable, 'the loss is noticed')
      for (let i = 0; i < 10; i++) {
        expect((await settled(reader.query(COUNT, [name]), 'a read')).rows).toEqual([{ n: 1 }])
        expect(reader.lastOutcome).toMatchObject({ guarantee: 'read-your-writes', possiblyLost: false })
        expect(reader.lastOutcome!.node).not.toBe(node)
      }
      const { reads } = tally
      if (node === 'primary') await until(() => tally.errors.length > 0, 'writes fail')
      else await until(() => tally.reads > reads + 20, 'others serve')

      await mend()
      await until(() => statusOf(node).usable, 'it is known to be back')
      const { writes } = tally
      await until(() => tally.writes > writes + 20, 'writes are done')
      await moreFrom(tally, 'replica-1')
      await until(() => tally.unfenced > 0, 'control: an unfenced read misses a write')
      await working.stop()
      expect(tally).toMatchObject({ violations: [], hangs: [], told: 0 })
    })
  }

  test('a replica that receives nothing more: it serves what it has, others serve the rest, and it is used again', async () => {
    working = load(db, 4, 'receiver')
    const { tally } = working
    const before = db.session()
    await before.query(SAVE, ['received'])
    await cluster.caughtUp()
    await until(async () => {
      await before.query(COUNT, ['received'])
      return before.lastOutcome!.node === 'replica-1'
    }, 'replica-1 is known to have it')
    await cluster.pauseReceiver('replica-1')
    const after = db.session()
    await after.query(SAVE, ['not received'])
    for (let i = 0; i < 20; i++) {
      expect((await settled(after.query(COUNT, ['not received']), 'a read')).rows).toEqual([{ n: 1 }])
      expect(after.lastOutcome!.node).not.toBe('replica-1')
    }
    await until(async () => {
      await settled(before.query(COUNT, ['received']), 'a read')
      return before.lastOutcome!.node === 'replica-1'
    }, 'it serves what it has')
    // Control: it has not got the other.
    expect(await cluster.query('replica-1', COUNT, ['not received'])).toEqual([{ n: 0 }])
    await cluster.resumeReceiver('replica-1')
    await until(async () => {
      expect((await settled(after.query(COUNT, ['not received']), 'a read')).rows).toEqual([{ n: 1 }])
      return after.lastOutcome!.node === 'replica-1'
    }, 'it is used again')
    await working.stop()
    expect(tally).toMatchObject({ violations: [], hangs: [], told: 0 })
    expect(tally.unfenced).toBeGreaterThan(0)
  })
})

test('all connections of a replica are in use: reads go elsewhere, and come back', async () => {
  const own = await openDatabase(cluster, {
    nodes: [
      { name: 'primary', url: cluster.url('primary') },
      { name: 'replica-1', config: { connectionString: cluster.url('replica-1'), max: 1, connectionTimeoutMillis: 200 } },
    ],
  })
  try {
    const session = own.session()
    await session.query(SAVE, ['exhausted'])
    await cluster.caughtUp()
    const replicaServes = async () => {
      await settled(session.query(COUNT, ['exhausted']), 'a read')
      return session.lastOutcome!.node === 'replica-1'
    }
    await until(replicaServes, 'the replica serves')
    const end = new AbortController()
    const nap = 'SELECT pg_sleep(60) AS exhausting'
    const napping = failure(own.eventual.query(nap, [], { on: 'replica', signal: end.signal }))
    const active = `SELECT count(*)::int AS n FROM pg_stat_activity WHERE state = 'active' AND query = '${nap}'`
    await until(async () => (await cluster.query<{ n: number }>('replica-1', active))[0]!.n === 1, 'it is held')
    for (let i = 0; i < 3; i++) {
      expect((await settled(session.query(COUNT, ['exhausted']), 'a read')).rows).toEqual([{ n: 1 }])
      expect(session.lastOutcome).toMatchObject({ node: 'primary', guarantee: 'read-your-writes', reroutes: 1 })
    }
    // Control: it was held all the while, and nobody took the replica for lost.
    expect(await cluster.query('replica-1', active)).toEqual([{ n: 1 }])
    expect(own.status()[1]).toMatchObject({ usable: true })
    end.abort(new Error('enough'))
    expect(await settled(napping, 'the long query')).toMatchObject({ message: 'enough' })
    await until(replicaServes, 'the replica serves again')
  } finally {
    await own.close()
  }
})
