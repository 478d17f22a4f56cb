/**
 * Rule 1, the fence: a node serves a read only if it has applied the session's writes in its present life. Every test
 * here has a control that does miss writes, so that none passes because nothing lagged.
 */
import { execFile } from 'node:child_process'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { PostgresSession, Tidemark } from '../../src/engines/postgres/index.js'
import { type Outcome, primary, replica, wait } from '../../src/index.js'
import { type Cluster, startCluster } from '../../src/testing/index.js'
import { openDatabase, portOf, until, withPort } from '../support/database.js'
import { tcpProxy } from '../support/tcp-proxy.js'

const run = promisify(execFile)
const LATEST = 'SELECT coalesce(max(n), 0)::int AS n FROM counters WHERE author = $1'
const SAVE = 'INSERT INTO counters (author, n) VALUES ($1, $2)'

let cluster: Cluster
beforeAll(async () => {
  cluster = await startCluster({ replicas: 2 })
  await cluster.query('primary', 'CREATE TABLE counters (author text, n int)')
  await cluster.query('primary', 'CREATE INDEX ON counters (author, n)')
  await cluster.caughtUp()
})
afterAll(() => cluster?.close())

interface Tally {
  reads: number
  missed: number
  readonly nodes: Record<string, number>
}

/** Many authors at a time, each writing and reading back at once. */
async function writeAndReadBack(
  db: Tidemark,
  session: () => PostgresSession,
  rounds: number,
): Promise<{ fenced: Tally; control: Tally }> {
  const fenced: Tally = { reads: 0, missed: 0, nodes: {} }
  const control: Tally = { reads: 0, missed: 0, nodes: {} }
  const latest = async (query: (sql: string, values: unknown[]) => Promise<{ rows: { n: number }[] }>, author: string) =>
    (await query(LATEST, [author])).rows[0]!.n
  const author = async (index: number) => {
    const own = session()
    const name = `author ${index} of ${Math.random()}`
    for (let n = 1; n <= rounds; n++) {
      await own.query(SAVE, [name, n])
      const read = await latest((sql, values) => own.query(sql, values), name)
      fenced.reads++
      if (read < n) fenced.missed++
      const node = own.lastOutcome!.node
      fenced.nodes[node] = (fenced.nodes[node] ?? 0) + 1
      control.reads++
      if ((await latest((sql, values) => db.eventual.query(sql, values), name)) < n) control.missed++
    }
  }
  await Promise.all(Array.from({ length: 8 }, (_, i) => author(i)))
  return { fenced, control }
}

describe('the author sees every write on the very next read', () => {
  const lags: Record<string, () => Promise<void>> = {
    'with replicas that follow at once': async () => {},
    'with one replica 200 ms behind': () => cluster.lag('replica-1', 200),
    'with all replicas 200 ms behind': () =>
      Promise.all([cluster.lag('replica-1', 200), cluster.lag('replica-2', 200)]).then(() => {}),
    'with one replica paused': () => cluster.pause('replica-1'),
    'with all replicas paused': () => Promise.all([cluster.pause('replica-1'), cluster.pause('replica-2')]).then(() => {}),
  }
  for (const [name, slowDown] of Object.entries(lags)) {
    test(name, async () => {
      const db = await openDatabase(cluster)
      try {
        await slowDown()
        const { fenced, control } = await writeAndReadBack(db, () => db.session(), 25)
        expect(fenced).toMatchObject({ reads: 200, missed: 0 })
        if (slowDown !== lags['with replicas that follow at once']) expect(control.missed).toBeGreaterThan(0)
        else expect((fenced.nodes['replica-1'] ?? 0) + (fenced.nodes['replica-2'] ?? 0)).toBeGreaterThan(0)
      } finally {
        await db.close()
        for (const node of cluster.replicas) {
          await cluster.lag(node, 0)
          await cluster.resume(node)
        }
        await cluster.caughtUp()
      }
    })
  }

  test('in another process that only has the token', async () => {
    const [here, there] = await Promise.all([openDatabase(cluster), openDatabase(cluster)])
    try {
      await cluster.pause('replica-1')
      await cluster.pause('replica-2')
      const session = here.session(undefined, { user: 'ann' })
      await session.query(SAVE, ['ann', 1])
      const elsewhere = there.session(session.token(), { user: 'ann' })
      expect((await elsewhere.query(LATEST, ['ann'])).rows).toEqual([{ n: 1 }])
      expect((await there.eventual.query(LATEST, ['ann'])).rows).toEqual([{ n: 0 }])
    } finally {
      await Promise.all([cluster.resume('replica-1'), cluster.resume('replica-2')])
      await cluster.caughtUp()
      await Promise.all([here.close(), there.close()])
    }
  })
})

test('a replica that was rebuilt from an older copy at the same address serves nothing it has not got', async () => {
  const dataDirectory = (await cluster.query<{ data_directory: string }>('replica-1', 'SHOW data_directory'))[0]!.data_directory
  const copy = `${dataDirectory}.older`
  await cluster.stop('replica-1')
  await run('cp', ['-a', dataDirectory, copy])
  await cluster.start('replica-1')
  await cluster.caughtUp()
  // The monitor does not look again for a minute: what it remembers is about the replica as it was.
  const db = await openDatabase(cluster, {
    nodes: [
      { name: 'primary', url: cluster.url('primary') },
      { name: 'replica-1', url: cluster.url('replica-1') },
    ],
    pollIntervalMs: 60_000,
    // One connection, so that reads routed before the node was asked anew get it after another read has.
    pool: { max: 1 },
  })
  try {
    const session = db.session()
    await session.query(SAVE, ['rebuilt', 1])
    await until(async () => {
      await session.query(LATEST, ['rebuilt'])
      return session.lastOutcome!.node === 'replica-1'
    }, 'the replica is known to have the write')
    // Held back from here on, so that it stays as old as the copy.
    await cluster.lag('replica-1', 3_600_000)
    await cluster.stop('replica-1')
    await run('rm', ['-rf', dataDirectory])
    await run('mv', [copy, dataDirectory])
    await cluster.start('replica-1')
    const reads = await Promise.all(Array.from({ length: 20 }, () => session.query(LATEST, ['rebuilt'])))
    for (const { rows } of reads) expect(rows).toEqual([{ n: 1 }])
    expect(session.lastOutcome).toMatchObject({ node: 'primary', guarantee: 'read-your-writes' })
    // Control: the rebuilt replica does answer, and has not got the write.
    expect(await cluster.query('replica-1', LATEST, ['rebuilt'])).toEqual([{ n: 0 }])
  } finally {
    await db.close()
    await cluster.lag('replica-1', 0)
    await cluster.caughtUp()
  }
})

test('a replica that restarts after the crash of one of its processes serves nothing it has not replayed again', async () => {
  await cluster.query('primary', 'CHECKPOINT')
  await cluster.caughtUp()
  await cluster.query('replica-1', 'CHECKPOINT')
  const db = await openDatabase(cluster, {
    nodes: ['primary', 'replica-1'].map(name => ({ name, url: cluster.url(name) })),
  })
  try {
    const session = db.session()
    await session.query(SAVE, ['crashed', 1])
    await until(async () => {
      await session.query(LATEST, ['crashed'])
      return session.lastOutcome!.node === 'replica-1'
    }, 'the replica is known to have the write')
    // Held back from here on: after the restart it opens at its last restartpoint and stays there, under the same postmaster.
    await cluster.lag('replica-1', 3_600_000)
    const started = () => cluster.query('replica-1', 'SELECT pg_postmaster_start_time()::text AS at')
    const before = await started()
    const checkpointer = `SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'`
    const [crashed] = await cluster.query<{ pid: number }>('replica-1', checkpointer)
    process.kill(crashed!.pid, 'SIGKILL')
    await until(async () => {
      const missing = await cluster.query<{ n: number }>('replica-1', LATEST, ['crashed']).catch(() => [])
      return missing[0]?.n === 0
    }, 'the replica answers again, without the write')
    expect(await started()).toEqual(before)
    await until(() => db.status()[1]!.usable, 'the replica is used again')
    for (let i = 0; i < 50; i++) expect((await session.query(LATEST, ['crashed'])).rows).toEqual([{ n: 1 }])
  } finally {
    await db.close()
    await cluster.lag('replica-1', 0)
    await cluster.caughtUp()
  }
})

test('behind one address for several servers, check and read travel together', async () => {
  const ports = [portOf(cluster.url('replica-1')), portOf(cluster.url('replica-2'))]
  const proxy = await tcpProxy(ports[0]!, connection => ports[connection % 2]!)
  const ladder = [replica(), wait(), primary()]
  const db = await openDatabase(cluster, {
    nodes: [
      { name: 'primary', url: cluster.url('primary') },
      { name: 'readers', url: withPort(cluster.url('replica-1'), proxy.port), balanced: true },
    ],
    ladder,
  })
  const outcomes: Outcome[] = []
  try {
    await cluster.pause('replica-2')
    const { fenced, control } = await writeAndReadBack(db, () => db.session(), 25)
    expect(fenced).toMatchObject({ reads: 200, missed: 0 })
    expect(control.missed).toBeGreaterThan(0)
    // Both servers were asked: the one that has caught up served through the address, the other's answers were discarded.
    const session = db.session()
    await session.query(SAVE, ['balanced', 1])
    await cluster.caughtUp('replica-1')
    // At once, so that connections to both servers are in use.
    const note = (outcome: unknown) => outcomes.push(outcome as Outcome)
    subscribe('tidemark:read', note)
    await Promise.all(Array.from({ length: 60 }, () => session.query(LATEST, ['balanced'])))
    unsubscribe('tidemark:read', note)
    expect(outcomes.some(outcome => outcome.node === 'readers')).toBe(true)
    expect(outcomes.some(outcome => outcome.reroutes > 0)).toBe(true)
  } finally {
    await db.close()
    await proxy.close()
    await cluster.resume('replica-2')
    await cluster.caughtUp()
  }
})

describe('monotonic reads', () => {
  const observe = async (guarantee: 'read-your-writes' | 'monotonic-reads') => {
    // Two routers, one replica each, the second one far behind; the session moves between them by its token.
    const routers = await Promise.all(
      cluster.replicas.map(name =>
        openDatabase(cluster, {
          nodes: [
            { name: 'primary', url: cluster.url('primary') },
            { name, url: cluster.url(name) },
          ],
          guarantee,
        }),
      ),
    )
    try {
      await cluster.pause('replica-2')
      let token: string | undefined
      let seen = 0
      let wentBack = 0
      for (let n = 1; n <= 20; n++) {
        await cluster.query('primary', SAVE, [`other ${guarantee}`, n])
        await cluster.caughtUp('replica-1')
        const session = routers[n % 2]!.session(token)
        const read = (await session.query<{ n: number }>(LATEST, [`other ${guarantee}`])).rows[0]!.n
        if (read < seen) wentBack++
        seen = Math.max(seen, read)
        token = session.token()
        expect(session.lastOutcome?.guarantee).toBe(guarantee)
      }
      return wentBack
    } finally {
      await cluster.resume('replica-2')
      await cluster.caughtUp()
      for (const router of routers) await router.close()
    }
  }
  test('a session that asked for them never sees time go back when it moves between replicas', async () => {
    expect(await observe('monotonic-reads')).toBe(0)
  })
  test('control: one that did not, does', async () => {
    expect(await observe('read-your-writes')).toBeGreaterThan(0)
  })
})
