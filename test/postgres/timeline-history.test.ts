/** What servers tell about the timelines that theirs goes through, held against what really is in the new history. */
import { appendFile } from 'node:fs/promises'
import pg from 'pg'
import { afterEach, expect, test } from 'vitest'
import { systemClock } from '../../src/core/clock.js'
import type { Driver } from '../../src/engines/postgres/driver.js'
import { parseLsn } from '../../src/engines/postgres/lsn.js'
import { parseTimelineHistory, readTimelineHistory, type TimelineHistory } from '../../src/engines/postgres/timeline-history.js'
import { type Cluster, startCluster } from '../../src/testing/index.js'
import { until } from '../support/database.js'

const TIMEOUT_MS = 10_000
let cluster: Cluster
afterEach(() => cluster?.close())

async function start(): Promise<void> {
  cluster = await startCluster({ replicas: 2, password: 'secret' })
  for (const sql of [
    'CREATE TABLE notes (body text)',
    "CREATE ROLE streams LOGIN REPLICATION PASSWORD 'secret'",
    "CREATE ROLE reads_files LOGIN PASSWORD 'secret'",
    'GRANT EXECUTE ON FUNCTION pg_read_file(text) TO reads_files',
    "CREATE ROLE watches LOGIN PASSWORD 'secret' IN ROLE pg_monitor",
    "CREATE ROLE nothing LOGIN PASSWORD 'secret'",
  ]) {
    await cluster.query('primary', sql)
  }
  await cluster.caughtUp()
}

/** Writes, in a segment of its own, and tells the end of it. */
async function write(node: string): Promise<bigint> {
  await cluster.query(node, 'SELECT pg_switch_wal()')
  await cluster.query(node, "INSERT INTO notes (body) VALUES ('x')")
  return parseLsn((await cluster.query<{ lsn: string }>(node, 'SELECT pg_current_wal_insert_lsn()::text AS lsn'))[0]!.lsn)
}

/** The driver, and the connections it was made to open. */
function watchedDriver(): { driver: Driver; clients: pg.Client[] } {
  const clients: pg.Client[] = []
  class Watched extends pg.Client {
    constructor(config?: string | pg.ClientConfig) {
      super(config)
      clients.push(this)
    }
  }
  return { driver: Object.assign(Object.create(pg), { Client: Watched }) as Driver, clients }
}

async function read(node: string, user: string, timeline: number, timeoutMs = TIMEOUT_MS): Promise<TimelineHistory | undefined> {
  const url = new URL(cluster.url(node))
  url.username = user
  const { driver, clients } = watchedDriver()
  const history = await readTimelineHistory(driver, { connectionString: url.href }, timeline, timeoutMs, systemClock)
  expect(clients.length).toBeGreaterThan(0)
  for (const client of clients) {
    expect((client as unknown as { connection: { stream: { destroyed: boolean } } }).connection.stream.destroyed).toBe(true)
  }
  return history
}

/** The truth: the file that the promotion wrote. */
async function written(node: string, timeline: number): Promise<string> {
  const [row] = await cluster.query<{ text: string }>(node, `SELECT pg_read_file('pg_wal/0000000${timeline}.history') AS text`)
  return row!.text
}

/** Asked again while a checkpoint's end is in the way. */
async function boundOf(node: string, timeline: number): Promise<TimelineHistory> {
  let history: TimelineHistory | undefined
  await until(async () => {
    history = await read(node, 'watches', timeline)
    return history !== undefined
  }, 'there is a bound')
  return history!
}

/** Whole seconds are all that a listing tells of times: without this, the promotion might as well have been before the start. */
async function promoteLater(node: string, repoint = true): Promise<void> {
  const later = "SELECT clock_timestamp() > pg_postmaster_start_time() + interval '1.1 seconds' AS later"
  await until(async () => (await cluster.query(node, later))[0]!.later === true, 'it is later than the start')
  await cluster.promote(node, { repoint })
}

const ancestor = (history: TimelineHistory | undefined, timeline: number) =>
  history!.ancestors.find(each => each.timeline === timeline)!

test('after one promotion and after two, every source tells the truth, as far as its role may read', async () => {
  await start()
  const kept = await write('primary')
  await cluster.caughtUp()
  await cluster.stop('replica-1')
  await cluster.stop('replica-2')
  const lost = await write('primary')
  await cluster.kill('primary')
  await cluster.start('replica-1')
  await cluster.start('replica-2')
  await promoteLater('replica-1')

  const second = await read('replica-1', 'postgres', 2)
  expect(second).toEqual({
    timeline: 2,
    ancestors: parseTimelineHistory(await written('replica-1', 2)),
    source: 'replication-protocol',
  })
  expect(second!.ancestors).toMatchObject([{ timeline: 1, exact: true }])
  const left = ancestor(second, 1).includedUpTo
  expect(kept).toBeLessThanOrEqual(left)
  expect(lost).toBeGreaterThan(left)
  expect(await read('replica-1', 'streams', 2)).toEqual(second)
  expect(await read('replica-1', 'reads_files', 2)).toEqual({ ...second, source: 'history-file' })
  expect(await read('replica-1', 'nothing', 2)).toBeUndefined()
  // Not the timeline that it is on.
  for (const user of ['postgres', 'reads_files', 'watches']) expect(await read('replica-1', user, 3)).toBeUndefined()

  const bound = await boundOf('replica-1', 2)
  expect(bound).toMatchObject({ source: 'wal-directory', ancestors: [{ timeline: 1, exact: false }] })
  expect(ancestor(bound, 1).includedUpTo).toBeLessThanOrEqual(left)
  expect(ancestor(bound, 1).includedUpTo).toBeGreaterThan(left - 16n * 1024n * 1024n)

  // Twice, so that there is a segment which only this timeline has.
  await write('replica-1')
  const onSecond = await write('replica-1')
  await cluster.caughtUp('replica-2')
  // A standby tells it too, to those who may ask it so.
  expect(await read('replica-2', 'streams', 2)).toEqual(second)
  expect(await read('replica-2', 'watches', 2)).toBeUndefined()
  await cluster.kill('replica-1')
  await promoteLater('replica-2')

  const third = await read('replica-2', 'postgres', 3)
  expect(third).toEqual({
    timeline: 3,
    ancestors: parseTimelineHistory(await written('replica-2', 3)),
    source: 'replication-protocol',
  })
  expect(third!.ancestors).toMatchObject([ancestor(second, 1), { timeline: 2, exact: true }])
  expect(onSecond).toBeLessThanOrEqual(ancestor(third, 2).includedUpTo)
  expect(await read('replica-2', 'reads_files', 3)).toEqual({ ...third, source: 'history-file' })
  const [parent] = (await boundOf('replica-2', 3)).ancestors
  expect(parent!.includedUpTo).toBeLessThanOrEqual(ancestor(third, parent!.timeline).includedUpTo)
  // After a restart nobody knows whether it archived before.
  await cluster.restart('replica-2')
  expect(await read('replica-2', 'watches', 3)).toBeUndefined()
  expect(await read('replica-2', 'postgres', 3)).toEqual(third)
  // Its old file does not speak for a server that has gone on.
  for (const user of ['postgres', 'reads_files', 'watches']) expect(await read('replica-2', user, 2)).toBeUndefined()
})

test('once the segments in which a timeline began are gone, nothing is claimed', async () => {
  await start()
  await write('primary')
  await cluster.caughtUp()
  await cluster.kill('primary')
  await promoteLater('replica-1', false)
  const exact = ancestor(await read('replica-1', 'postgres', 2), 1).includedUpTo
  expect(ancestor(await boundOf('replica-1', 2), 1).includedUpTo).toBeLessThanOrEqual(exact)

  await cluster.query('replica-1', "ALTER SYSTEM SET wal_keep_size = '0'")
  await cluster.query('replica-1', 'SELECT pg_reload_conf()')
  const segments = async () =>
    (
      await cluster.query<{ name: string }>(
        'replica-1',
        "SELECT name FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$' ORDER BY 1",
      )
    )
      .map(row => row.name)
      .filter(name => name.startsWith('00000002'))
  const before = (await segments())[0]!
  await until(async () => {
    await write('replica-1')
    await cluster.query('replica-1', 'CHECKPOINT')
    return (await segments())[0] !== before
  }, 'the first segment of the timeline is removed')
  // Control: the lowest number alone would have claimed what may have been cut off.
  const lowest = BigInt(`0x${(await segments())[0]!.slice(16)}`) * 16n * 1024n * 1024n
  expect(lowest).toBeGreaterThan(exact)
  expect(await read('replica-1', 'watches', 2)).toBeUndefined()
  expect(ancestor(await read('replica-1', 'postgres', 2), 1).includedUpTo).toBe(exact)
})

test('recovery to a point before its target timeline began: the first timeline is included only up to that point', async () => {
  await start()
  const [row] = await cluster.query<{ data_directory: string }>('replica-2', 'SHOW data_directory')
  await cluster.stop('replica-2')
  const target = await write('primary')
  const beyond = await write('primary')
  await cluster.caughtUp('replica-1')
  await cluster.kill('primary')
  await cluster.promote('replica-1')
  await write('replica-1')
  const [newDirectory] = await cluster.query<{ data_directory: string }>('replica-1', 'SHOW data_directory')
  const lsn = `${(target >> 32n).toString(16)}/${(target & 0xffff_ffffn).toString(16)}`
  await appendFile(
    `${row!.data_directory}/postgresql.auto.conf`,
    `restore_command = 'cp "${newDirectory!.data_directory}/pg_wal/%f" "%p"'\nrecovery_target_lsn = '${lsn}'\nrecovery_target_timeline = '2'\nrecovery_target_action = 'promote'\n`,
  )
  await cluster.start('replica-2')
  const recovering = 'SELECT pg_is_in_recovery() AS recovering'
  await until(async () => (await cluster.query('replica-2', recovering))[0]!.recovering === false, 'it has left recovery')
  // What it says: timeline 1 was left beyond what this server has of it.
  const line = /^1\t(\S+)\t/m.exec(await written('replica-2', 3))!
  expect(parseLsn(line[1]!)).toBeGreaterThanOrEqual(beyond)
  expect(await cluster.query('replica-2', 'SELECT count(*)::int AS n FROM notes')).toEqual([{ n: 1 }])
  const history = await read('replica-2', 'postgres', 3)
  expect(history!.ancestors.map(each => each.timeline)).toEqual([1, 2])
  for (const { includedUpTo } of history!.ancestors) {
    expect(includedUpTo).toBeGreaterThanOrEqual(target)
    expect(includedUpTo).toBeLessThan(beyond)
  }
})

test('a server that accepts and never answers: no answer, in time, and the connections are closed', async () => {
  await start()
  await cluster.kill('primary')
  await cluster.promote('replica-1', { repoint: false })
  await cluster.freeze('replica-1')
  expect(await read('replica-1', 'postgres', 2, 300)).toBeUndefined()
  // Control: it was the silence.
  await cluster.thaw('replica-1')
  expect(await read('replica-1', 'postgres', 2)).toMatchObject({ source: 'replication-protocol' })
})
