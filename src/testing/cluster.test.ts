import { existsSync } from 'node:fs'
import { dirname } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Cluster, startCluster } from './index.js'
import { allProcesses, commandLine } from './process-info.js'

const HOUR_MS = 3_600_000

let cluster: Cluster

beforeAll(async () => {
  cluster = await startCluster({ replicas: 2, settings: { work_mem: '5MB' } })
  await cluster.query('primary', 'create table notes (id int primary key)')
})

afterAll(() => cluster.close())

async function ids(node: string): Promise<number[]> {
  const rows = await cluster.query<{ id: number }>(node, 'select id from notes order by id')
  return rows.map(row => row.id)
}

let lastId = 0
async function write(): Promise<number> {
  lastId++
  await cluster.query(cluster.primary, 'insert into notes values ($1)', [lastId])
  return lastId
}

describe('a cluster', () => {
  test('replicates from its primary to its replicas', async () => {
    expect([cluster.primary, cluster.replicas]).toEqual(['primary', ['replica-1', 'replica-2']])
    const id = await write()
    await cluster.caughtUp()
    expect(await ids('replica-1')).toContain(id)
    expect(await ids('replica-2')).toContain(id)
    await expect(cluster.query('replica-1', 'insert into notes values (0)')).rejects.toMatchObject({ code: '25006' })
  })

  test('is reached by its URLs, with the password only', async () => {
    const id = await write()
    const client = new pg.Client(cluster.url('primary'))
    await client.connect()
    expect((await client.query('select max(id) as id from notes')).rows).toEqual([{ id }])
    await client.end()

    const url = new URL(cluster.url('primary'))
    url.password = 'wrong'
    const stranger = new pg.Client(url.href)
    await expect(stranger.connect()).rejects.toMatchObject({ code: '28P01' })
    expect(cluster.urls).toEqual(['primary', 'replica-1', 'replica-2'].map(node => cluster.url(node)))
  })

  test('has the settings asked for on all nodes, and refuses those that it needs itself', async () => {
    for (const node of cluster.nodes) {
      expect(await cluster.query(node, 'show work_mem')).toEqual([{ work_mem: '5MB' }])
      expect(await cluster.query(node, 'show listen_addresses')).toEqual([{ listen_addresses: '127.0.0.1' }])
    }
    await expect(startCluster({ settings: { port: '1' } })).rejects.toMatchObject({ code: 'TIDEMARK_CONFIGURATION' })
    await expect(startCluster({ settings: { 'a b': '1' } })).rejects.toMatchObject({ code: 'TIDEMARK_CONFIGURATION' })
    await expect(startCluster({ replicas: 10 })).rejects.toMatchObject({ code: 'TIDEMARK_CONFIGURATION' })
    await expect(startCluster({ password: '' })).rejects.toMatchObject({ code: 'TIDEMARK_CONFIGURATION' })
  })

  test('names the node that a call cannot apply to', async () => {
    await expect(cluster.lag('replica-7', 1)).rejects.toThrow('"replica-7"')
    await expect(cluster.lag('primary', 1)).rejects.toThrow('not a replica')
    await expect(cluster.lag('replica-1', -1)).rejects.toMatchObject({ code: 'TIDEMARK_CONFIGURATION' })
    await expect(cluster.promote('primary')).rejects.toThrow('not a replica')
  })
})

describe('lag', () => {
  test('holds back every commit made after it was set, until it is reset', async () => {
    // Several rounds: a delay that comes into force a moment late would let one of these commits through.
    for (let round = 0; round < 5; round++) {
      await cluster.lag('replica-1', HOUR_MS)
      const id = await write()
      await cluster.caughtUp('replica-2')
      expect(await ids('replica-2')).toContain(id)
      expect(await ids('replica-1')).not.toContain(id)
      await cluster.lag('replica-1', 0)
      await cluster.caughtUp('replica-1')
      expect(await ids('replica-1')).toContain(id)
    }
  })

  test('is told by caughtUp, and outlives a restart', async () => {
    await cluster.lag('replica-1', HOUR_MS)
    const id = await write()
    await expect(cluster.caughtUp('replica-1', { timeoutMs: 2_000 })).rejects.toMatchObject({ code: 'TIDEMARK_CLUSTER_TIMEOUT' })
    await cluster.restart('replica-1')
    expect(await ids('replica-1')).not.toContain(id)
    await cluster.lag('replica-1', 0)
    await cluster.caughtUp('replica-1')
    expect(await ids('replica-1')).toContain(id)
  })
})

describe('pause', () => {
  const pauseState = 'select pg_get_wal_replay_pause_state() as state'

  test('holds everything back until resume', async () => {
    await cluster.pause('replica-1')
    expect(await cluster.query('replica-1', pauseState)).toEqual([{ state: 'paused' }])
    const id = await write()
    await cluster.caughtUp('replica-2')
    await expect(cluster.caughtUp('replica-1', { timeoutMs: 2_000 })).rejects.toThrow('"replica-1"')
    expect(await ids('replica-1')).not.toContain(id)
    await cluster.resume('replica-1')
    await cluster.caughtUp('replica-1')
    expect(await ids('replica-1')).toContain(id)
  })

  test('does not wait for a commit that is being held back, and holds it when the delay ends', async () => {
    await cluster.lag('replica-1', HOUR_MS)
    const id = await write()
    await cluster.caughtUp('replica-2')
    await cluster.pause('replica-1')
    await cluster.lag('replica-1', 0)
    await expect.poll(() => cluster.query('replica-1', pauseState)).toEqual([{ state: 'paused' }])
    expect(await ids('replica-1')).not.toContain(id)
    await cluster.resume('replica-1')
    await cluster.caughtUp('replica-1')
    expect(await ids('replica-1')).toContain(id)
  })
})

describe('caughtUp', () => {
  test('ends on an idle primary whose last record fills its page', async () => {
    const insertLsn = 'select mod(pg_current_wal_insert_lsn() - $1::pg_lsn, 8192)::int as used'
    const used = async () => (await cluster.query<{ used: number }>('primary', insertLsn, ['0/0']))[0]!.used
    const emit = (bytes: number) =>
      cluster.query('primary', `select pg_logical_emit_message(false, 'fill', repeat('x', $1))`, [bytes])
    const before = await used()
    await emit(1_000)
    const overhead = ((await used()) - before + 8_192) % 8_192
    expect(overhead).toBeGreaterThan(1_000)
    // Records of the server's own can come between; the attempts are few, and the end is checked.
    for (let attempt = 0; attempt < 20 && (await used()) !== 24; attempt++) {
      const room = 8_192 - (await used())
      await emit(room > overhead - 700 ? room - (overhead - 1_000) : 500)
    }
    expect(await used()).toBe(24)
    await cluster.caughtUp()
  })
})

describe('a node that fails', () => {
  test('refuses connections when killed, and catches up when started again', async () => {
    await cluster.kill('replica-1')
    expect(cluster.isRunning('replica-1')).toBe(false)
    await expect(cluster.query('replica-1', 'select 1')).rejects.toThrow('not running')
    await expect(new pg.Client(cluster.url('replica-1')).connect()).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    const url = cluster.url('replica-1')
    const id = await write()
    await cluster.caughtUp()
    await cluster.start('replica-1')
    expect(cluster.url('replica-1')).toBe(url)
    await cluster.caughtUp('replica-1')
    expect(await ids('replica-1')).toContain(id)
  })

  test('keeps what was committed when it is a killed primary', async () => {
    const id = await write()
    await cluster.kill('primary')
    await cluster.start('primary')
    expect(await ids('primary')).toContain(id)
    await cluster.caughtUp()
  })

  test('accepts connections and never answers when frozen', async () => {
    await cluster.freeze('replica-1')
    await expect(cluster.query('replica-1', 'select 1')).rejects.toThrow('frozen')
    const client = new pg.Client({ connectionString: cluster.url('replica-1'), connectionTimeoutMillis: 200 })
    let accepted = false
    client.connection.once('connect', () => {
      accepted = true
    })
    await expect(client.connect()).rejects.toThrow('timeout')
    expect(accepted).toBe(true)
    await cluster.thaw('replica-1')
    const id = await write()
    await cluster.caughtUp('replica-1')
    expect(await ids('replica-1')).toContain(id)
  })
})

test('a replica added to a busy primary has everything', async () => {
  let writing = true
  const writer = (async () => {
    while (writing) await write()
  })()
  const name = await cluster.addReplica()
  writing = false
  await writer
  expect(name).toBe('replica-3')
  await cluster.caughtUp(name)
  expect(await ids(name)).toEqual(await ids('primary'))
})

test('two clusters at once have nothing in common, and close leaves nothing of one', async () => {
  const other = await startCluster({ replicas: 1, password: `it's a \\ %/@` })
  const identifier = 'select system_identifier from pg_control_system()'
  expect(await other.query('primary', identifier)).not.toEqual(await cluster.query('primary', identifier))
  expect(other.urls.filter(url => cluster.urls.includes(url))).toEqual([])
  await other.caughtUp()

  const [{ directory } = { directory: '' }] = await other.query<{ directory: string }>(
    'replica-1',
    `select current_setting('data_directory') as directory`,
  )
  const processes = () => allProcesses().filter(pid => commandLine(pid).includes(dirname(directory)))
  expect(processes()).not.toEqual([])
  await other.freeze('replica-1')
  await Promise.all([other.close(), other.close()])
  expect(processes()).toEqual([])
  expect(existsSync(dirname(directory))).toBe(false)
  await expect(other.query('primary', 'select 1')).rejects.toThrow('closed')
  expect(await cluster.query('primary', 'select 1 as one')).toEqual([{ one: 1 }])
})

test('a start that is called off, or that fails, says why', async () => {
  const reason = new Error('enough')
  await expect(startCluster({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  const controller = new AbortController()
  const start = startCluster({ signal: controller.signal })
  controller.abort(reason)
  await expect(start).rejects.toBe(reason)
  await expect(startCluster({ startTimeoutMs: 1 })).rejects.toMatchObject({ code: 'TIDEMARK_CLUSTER_TIMEOUT' })
  await expect(startCluster({ settings: { no_such_setting: '1' } })).rejects.toMatchObject({
    code: 'TIDEMARK_CLUSTER_START',
    node: 'primary',
    log: expect.stringContaining('no_such_setting'),
  })
})

describe('promote', () => {
  test('makes a replica the primary, and the others follow its timeline', async () => {
    const before = await write()
    await cluster.caughtUp()
    await cluster.kill('primary')
    await cluster.stop('replica-3')
    await cluster.promote('replica-1')
    expect([cluster.primary, cluster.replicas]).toEqual(['replica-1', ['replica-2', 'replica-3']])
    const after = await write()
    await cluster.start('replica-3')
    await cluster.caughtUp()
    for (const node of cluster.replicas) {
      expect(await ids(node)).toEqual(expect.arrayContaining([before, after]))
      expect(await cluster.query(node, 'select received_tli from pg_stat_wal_receiver')).toEqual([{ received_tli: 2 }])
    }
  })

  test('leaves an old primary that comes back what it was', async () => {
    await cluster.start('primary')
    const role = 'select pg_is_in_recovery() as replica'
    expect(await cluster.query('primary', role)).toEqual([{ replica: false }])
    expect(await cluster.query(cluster.primary, role)).toEqual([{ replica: false }])
    await expect(cluster.pause('primary')).rejects.toThrow('not a replica')
  })

  test('with repoint: false leaves the others behind, and caughtUp is not taken in', async () => {
    await cluster.promote('replica-2', { repoint: false })
    expect([cluster.primary, cluster.replicas]).toEqual(['replica-2', ['replica-3']])
    // The old history grows past the new one: the LSN alone would say that replica-3 has caught up.
    await cluster.query('replica-1', `insert into notes select generate_series(100000, 110000)`)
    const lsn = `select pg_last_wal_replay_lsn() > $1::pg_lsn as beyond`
    const [{ position } = { position: '' }] = await cluster.query<{ position: string }>(
      'replica-2',
      'select pg_current_wal_lsn() as position',
    )
    await expect.poll(() => cluster.query('replica-3', lsn, [position])).toEqual([{ beyond: true }])
    await expect(cluster.caughtUp('replica-3', { timeoutMs: 100 })).rejects.toMatchObject({ code: 'TIDEMARK_CLUSTER_TIMEOUT' })
  })
})
