/** Who follows whom: cascades, promotions among them, the way back into the cluster, and replicas that receive nothing. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Cluster, startCluster } from './index.js'

const HOUR_MS = 3_600_000

let cluster: Cluster

beforeAll(async () => {
  cluster = await startCluster({ replicas: 2 })
  await cluster.query('primary', 'create table notes (id int primary key)')
})

afterAll(() => cluster.close())

async function ids(node: string): Promise<number[]> {
  const rows = await cluster.query<{ id: number }>(node, 'select id from notes order by id')
  return rows.map(row => row.id)
}

let lastId = 0
async function write(node = cluster.primary): Promise<number> {
  lastId++
  await cluster.query(node, 'insert into notes values ($1)', [lastId])
  return lastId
}

/** The names of the nodes that stream from this one. */
async function followersOf(node: string): Promise<string[]> {
  const sql = `select application_name as name from pg_stat_replication where state = 'streaming' order by 1`
  return (await cluster.query<{ name: string }>(node, sql)).map(row => row.name)
}

const timelineOf = (node: string) => cluster.query(node, 'select received_tli as timeline from pg_stat_wal_receiver')

describe('a cascading replica', () => {
  test('streams from another replica, and catches up through it', async () => {
    expect(await cluster.addReplica({ from: 'replica-1' })).toBe('replica-3')
    const id = await write()
    await cluster.caughtUp()
    expect(await ids('replica-3')).toContain(id)
    expect(await followersOf('replica-1')).toEqual(['replica-3'])
    expect(await followersOf('primary')).toEqual(['replica-1', 'replica-2'])
  })

  test('is not held up by the lag of its upstream', async () => {
    await cluster.lag('replica-1', HOUR_MS)
    const id = await write()
    await cluster.caughtUp('replica-3')
    expect(await ids('replica-3')).toContain(id)
    expect(await ids('replica-1')).not.toContain(id)
    await cluster.lag('replica-1', 0)
    await cluster.caughtUp()
  })

  test('follows nobody but the primary or a running replica', async () => {
    await expect(cluster.addReplica({ from: 'replica-7' })).rejects.toThrow('"replica-7"')
    await cluster.stop('replica-2')
    await expect(cluster.addReplica({ from: 'replica-2' })).rejects.toThrow('not running')
    await cluster.start('replica-2')
    expect(cluster.replicas).toEqual(['replica-1', 'replica-2', 'replica-3'])
  })
})

describe('a replica whose receiver is paused', () => {
  test('answers and gets nothing, nor does who follows it, until resumeReceiver', async () => {
    await cluster.pauseReceiver('replica-1')
    const id = await write()
    await cluster.caughtUp('replica-2')
    expect(await ids('replica-2')).toContain(id)
    await expect(cluster.caughtUp('replica-3', { timeoutMs: 100 })).rejects.toMatchObject({ code: 'TIDEMARK_CLUSTER_TIMEOUT' })
    await cluster.restart('replica-1')
    for (const node of ['replica-1', 'replica-3']) expect(await ids(node)).not.toContain(id)
    await expect.poll(() => followersOf('primary')).toEqual(['replica-2'])

    await cluster.resumeReceiver('replica-1')
    await cluster.caughtUp()
    for (const node of ['replica-1', 'replica-3']) expect(await ids(node)).toContain(id)
  })

  test('gets nothing while its replay is held up either, nor when that ends', async () => {
    const hasReceived = async (lsn: string) => {
      const rows = await cluster.query<{ has: boolean }>('replica-2', 'select pg_last_wal_receive_lsn() >= $1::pg_lsn as has', [
        lsn,
      ])
      return rows[0]!.has
    }
    const position = async () => (await cluster.query<{ lsn: string }>('primary', 'select pg_current_wal_lsn() as lsn'))[0]!.lsn
    const hold = [
      { begin: () => cluster.pause('replica-2'), end: () => cluster.resume('replica-2') },
      { begin: () => cluster.lag('replica-2', HOUR_MS), end: () => cluster.lag('replica-2', 0) },
    ]
    for (const { begin, end } of hold) {
      await begin()
      const received = await write()
      const before = await position()
      // Held-up replay alone does not keep a replica from receiving.
      await expect.poll(() => hasReceived(before)).toBe(true)
      await cluster.pauseReceiver('replica-2')
      const missed = await write()
      await end()
      await expect.poll(() => ids('replica-2')).toContain(received)
      await cluster.caughtUp('replica-1')
      expect(await hasReceived(await position())).toBe(false)
      expect(await ids('replica-2')).not.toContain(missed)
      await cluster.resumeReceiver('replica-2')
      await cluster.caughtUp('replica-2')
      expect(await ids('replica-2')).toContain(missed)
    }
  })

  test('has to be a replica', async () => {
    await expect(cluster.pauseReceiver('primary')).rejects.toThrow('not a replica')
    await expect(cluster.resumeReceiver('primary')).rejects.toThrow('not a replica')
  })
})

describe('promotion', () => {
  test('of another replica repoints the upstream, and the cascade follows through it', async () => {
    await cluster.promote('replica-2')
    expect(cluster.replicas).toEqual(['replica-1', 'replica-3'])
    const id = await write()
    await cluster.caughtUp()
    expect(await ids('replica-3')).toContain(id)
    expect(await followersOf('replica-2')).toEqual(['replica-1'])
    expect(await followersOf('replica-1')).toEqual(['replica-3'])
    expect(await timelineOf('replica-3')).toEqual([{ timeline: 2 }])
  })

  test('leaves a paused receiver paused', async () => {
    await cluster.rejoin('primary')
    await cluster.caughtUp()
    await cluster.pauseReceiver('replica-1')
    await cluster.kill('replica-2')
    await cluster.promote('primary')
    const id = await write()
    expect(await cluster.query('replica-1', 'select from pg_stat_wal_receiver')).toEqual([])
    expect(await ids('replica-1')).not.toContain(id)
    await cluster.resumeReceiver('replica-1')
    await cluster.caughtUp()
    expect(await ids('replica-3')).toContain(id)
    expect(await timelineOf('replica-3')).toEqual([{ timeline: 3 }])
    await cluster.rejoin('replica-2')
  })

  test('of the upstream leaves the cascade where it is', async () => {
    await cluster.promote('replica-1')
    expect(cluster.replicas).toEqual(['replica-3', 'replica-2'])
    const id = await write()
    await cluster.caughtUp()
    for (const node of cluster.replicas) expect(await ids(node)).toContain(id)
    expect(await followersOf('replica-1')).toEqual(['replica-2', 'replica-3'])
    expect(await timelineOf('replica-3')).toEqual([{ timeline: 4 }])
  })
})

describe('rejoin', () => {
  test('makes a replica of a former primary that went on writing, at its old URL', async () => {
    expect(cluster.isRunning('primary')).toBe(true)
    const url = cluster.url('primary')
    const stray = await write('primary')
    expect(await ids('primary')).toContain(stray)
    await cluster.rejoin('primary')
    expect(cluster.url('primary')).toBe(url)
    expect(cluster.replicas).toContain('primary')
    const id = await write()
    await cluster.caughtUp('primary')
    expect(await ids('primary')).toEqual(await ids('replica-1'))
    expect(await ids('primary')).toEqual(expect.arrayContaining([id]))
    expect(await ids('primary')).not.toContain(stray)
    expect(await cluster.query('primary', 'select pg_is_in_recovery() as replica')).toEqual([{ replica: true }])
  })

  test('makes a node fresh that is down, frozen, or a cascade, with the lag it had gone', async () => {
    await cluster.lag('replica-3', HOUR_MS)
    await cluster.kill('primary')
    await cluster.freeze('replica-2')
    for (const node of ['primary', 'replica-2', 'replica-3']) await cluster.rejoin(node)
    const id = await write()
    await cluster.caughtUp()
    for (const node of cluster.nodes) expect(await ids(node)).toContain(id)
    expect(await followersOf('replica-1')).toEqual(['primary', 'replica-2', 'replica-3'])
  })

  test('leaves alone a node that it cannot make fresh', async () => {
    await expect(cluster.rejoin('replica-1')).rejects.toThrow('is the primary')
    expect(cluster.isRunning('replica-1')).toBe(true)
    await cluster.stop('replica-1')
    await expect(cluster.rejoin('replica-2')).rejects.toThrow('"replica-1" is not running')
    expect(await ids('replica-2')).toContain(lastId)
  })
})
