/** The canary on a real cluster: it sees what a broken fence does, and does no harm when its database cannot answer. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { Node } from '../../src/core/node.js'
import type { CanaryOptions, Tidemark, TidemarkConfig } from '../../src/engines/postgres/index.js'
import type { CanaryResult, Rung } from '../../src/index.js'
import { Position, replica, stale } from '../../src/index.js'
import { type Cluster, startCluster } from '../../src/testing/index.js'
import { openDatabase, until } from '../support/database.js'
import { type Collected, collect } from '../support/failover.js'

const TABLE = 'tidemark_canary'

let cluster: Cluster
let events: Collected<'tidemark:canary'>
let db: Tidemark | undefined

beforeAll(async () => {
  cluster = await startCluster({ replicas: 2 })
})
afterAll(() => cluster?.close())
beforeEach(() => {
  events = collect('tidemark:canary')
})
afterEach(async () => {
  events[Symbol.dispose]()
  await db?.close()
  db = undefined
  for (const node of cluster.replicas) {
    await cluster.lag(node, 0)
    await cluster.resume(node)
  }
  await cluster.query('primary', `drop table if exists ${TABLE}`)
  await cluster.caughtUp()
})

async function open(config: Partial<TidemarkConfig> = {}): Promise<Tidemark> {
  db = await openDatabase(cluster, config)
  return db
}

const of = (path: string): readonly CanaryResult[] => events.messages.filter(each => each.path === path)
const rows = async () => (await cluster.query<{ n: string }>('primary', `select n from ${TABLE}`)).map(({ n }) => Number(n))
const seen = (path: string, times = 3) => until(() => of(path).length >= times, `${times} times ${path}`)

test('writes once a period and reads back by the ladder, from the primary and from each replica', async () => {
  await cluster.lag('replica-1', 150)
  const canary = (await open()).canary({ everyMs: 100 })
  const paths = ['ladder', 'primary', 'replica replica-1', 'replica replica-2']
  for (const path of paths) await seen(path)
  await canary.stop()
  expect(events.messages.map(({ path }) => path)).toEqual(expect.arrayContaining(paths))
  for (const { path, violated, failed, waitedMs } of events.messages) {
    expect([path, violated, failed]).toEqual([path, false, undefined])
    expect(waitedMs).toBeGreaterThan(0)
  }
  // The lag that there is, by the clock of whoever wrote: the slow replica's is seen to be at least what it was told.
  for (const { lagMs } of of('replica replica-1')) expect(lagMs).toBeGreaterThan(100)
  for (const { lagMs } of of('ladder')) expect(lagMs).toBeUndefined()
})

test('has one row however long it runs, and none when it was stopped; two canaries do not meet', async () => {
  const database = await open()
  const canaries = [database.canary({ everyMs: 100 }), database.canary({ everyMs: 100 })]
  await until(() => of('primary').length >= 8, 'several rounds')
  const numbers = await rows()
  expect(numbers).toHaveLength(2)
  expect(Math.max(...numbers)).toBeGreaterThan(2)
  expect(events.messages.filter(({ violated }) => violated)).toEqual([])
  await canaries[0]!.stop()
  expect(await rows()).toHaveLength(1)
  await database.close()
  expect(await rows()).toEqual([])
  const count = events.messages.length
  await new Promise(resolve => setTimeout(resolve, 250))
  expect(events.messages).toHaveLength(count)
})

test('its reads are none of the application’s: neither their waits nor their refusals are counted', async () => {
  await cluster.lag('replica-1', 150)
  const database = await open()
  database.canary({ everyMs: 100, timeoutMs: 500 })
  await seen('replica replica-1')
  await cluster.pause('replica-1')
  await until(() => of('replica replica-1').some(({ failed }) => failed !== undefined), 'the paused replica fails')
  const { reads, addedLatency, waits, canary } = database.stats()
  expect([reads.total, reads.refused, addedLatency.count]).toEqual([0, {}, 0])
  expect(waits).toEqual({ succeeded: 0, 'timed-out': 0, skipped: 0 })
  expect(canary['replica replica-1']!.reads).toBeGreaterThan(2)
  await database.session().query('SELECT 1')
  expect(database.stats().reads.total).toBe(1)
})

/** Serves what it remembers from the beginning, and says that it includes everything. */
const liar: Rung = {
  name: 'liar',
  fenced: true,
  step: () => ({ kind: 'cached', entry: { rows: [{ n: '0' }], position: Position.zero, storedAt: 0 } }),
}

test('a ladder that serves stale reads as fenced is a violation, on that path alone', async () => {
  ;(await open({ ladder: [liar] })).canary({ everyMs: 100 })
  await seen('ladder')
  await seen('replica replica-1')
  for (const { violated, failed } of of('ladder')) expect([violated, failed]).toEqual([true, undefined])
  for (const { violated } of [...of('primary'), ...of('replica replica-1')]) expect(violated).toBe(false)
})

test('a fence that lets everybody pass is a violation on the path of the replica that has not got the write', async () => {
  const database = await open()
  database.canary({ everyMs: 100 })
  await seen('replica replica-1')
  await cluster.pause('replica-1')
  const broken = vi.spyOn(Node.prototype, 'hasApplied').mockReturnValue(true)
  try {
    await until(() => of('replica replica-1').some(({ violated }) => violated), 'the canary sees it')
    expect(of('primary').filter(({ violated }) => violated)).toEqual([])
  } finally {
    broken.mockRestore()
  }
})

test('a rung that gives less and says so is none', async () => {
  const database = await open({ ladder: [replica(), stale({ maxLagMs: 60_000 })] })
  const first = database.canary({ everyMs: 100, timeoutMs: 1_000 })
  await seen('replica replica-1', 1)
  await seen('replica replica-2', 1)
  await first.stop()
  await cluster.caughtUp()
  for (const node of cluster.replicas) await cluster.pause(node)
  const before = of('ladder').length
  database.canary({ everyMs: 100, timeoutMs: 300 })
  await until(() => of('ladder').length >= before + 3, 'the ladder answers')
  for (const { violated, failed } of of('ladder').slice(before)) expect([violated, failed]).toEqual([false, undefined])
  // What no replica has, nobody shows: the paths of the replicas fail openly.
  await until(() => of('replica replica-1').some(({ failed }) => failed !== undefined), 'the paused replica fails')
})

test('a database that does not answer, or is gone, fails rounds and nothing else', async () => {
  const rejections: unknown[] = []
  const onRejection = (reason: unknown) => rejections.push(reason)
  process.on('unhandledRejection', onRejection)
  try {
    const database = await open({ connectTimeoutMs: 500, pollTimeoutMs: 300 })
    const canary = database.canary({ everyMs: 100, timeoutMs: 500 })
    await seen('primary')
    await cluster.freeze('primary')
    await until(() => of('write').length >= 2, 'a frozen primary fails rounds', 20_000)
    await cluster.kill('primary')
    const failures = of('write').length
    await until(() => of('write').length >= failures + 2, 'a dead primary fails rounds', 20_000)
    for (const { violated, failed } of of('write')) expect([violated, typeof failed]).toEqual([false, 'string'])
    await cluster.start('primary')
    const answers = of('primary').length
    await until(() => of('primary').length >= answers + 2, 'it goes on by itself', 20_000)
    await canary.stop()
    expect(events.messages.filter(({ violated }) => violated)).toEqual([])
    await new Promise(resolve => setImmediate(resolve))
    expect(rejections).toEqual([])
  } finally {
    process.off('unhandledRejection', onRejection)
  }
})

test('is called what it was told to be called; without a table it says what to run, once, and goes on trying', async () => {
  const onWarning = vi.fn<(message: string) => void>()
  const database = await open({ onWarning })
  database.canary({ everyMs: 100, table: 'public.watched', create: false })
  await seen('write')
  expect(onWarning.mock.calls.filter(([message]) => message.includes('canary'))).toHaveLength(1)
  expect(onWarning.mock.calls.flat().join()).toMatch(
    /CREATE TABLE IF NOT EXISTS "public"\."watched" .*\n.*GRANT SELECT, INSERT, UPDATE, DELETE/,
  )
  await cluster.query('primary', 'create table watched (id text primary key, n bigint not null, written_at timestamptz not null)')
  await seen('primary')
  expect(await cluster.query('primary', 'select count(*)::int as rows from watched')).toEqual([{ rows: 1 }])
  await database.close()
  await cluster.query('primary', 'drop table watched')
})

test('removes at its start what canaries left that ended without stopping, a day ago or more', async () => {
  const first = (await open()).canary({ everyMs: 100 })
  await seen('primary', 1)
  await first.stop()
  await cluster.query('primary', `insert into ${TABLE} values ('old', 1, now() - interval '25 hours'), ('newer', 1, now())`)
  const before = of('primary').length
  db!.canary({ everyMs: 100 })
  await until(() => of('primary').length > before, 'it has set up')
  const left = await cluster.query<{ id: string }>('primary', `select id from ${TABLE}`)
  expect(left.map(({ id }) => id)).not.toContain('old')
  expect(left).toHaveLength(2)
})

test.each<[CanaryOptions, RegExp]>([
  [{ everyMs: 1 }, /everyMs is 1; expected a number of at least 100/],
  [{ timeoutMs: 0 }, /timeoutMs is 0/],
  [{ table: 'a; drop table b' }, /canary: table: "a; drop table b" is not a table name/],
])('%j is refused at once', async (options, message) => {
  const database = await open()
  expect(() => database.canary(options)).toThrow(message)
  await database.close()
  expect(() => database.canary()).toThrow(/closed/)
})
