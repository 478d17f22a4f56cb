/** `tidemark verify` as it is published: on a cluster of its own, and on one that was there before and must be left as it was. */
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { isDeepStrictEqual } from 'node:util'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type Cluster, startCluster } from '../../src/testing/index.js'
import { LagInjector } from '../../src/verify/lag-injector.js'
import type { VerifyReport } from '../../src/verify/verify.js'
import { until } from '../support/database.js'
import { CompiledCli, type Finished } from './compiled-cli.js'

/** Starting a cluster and running for some seconds, on a machine that has other things to do. */
const LONG = { timeout: 180_000 }
/** Far beyond what anything here takes; says nothing about speed. */
const HANGS_MS = 60_000

const PATHS = [
  'replica replica-1',
  'replica replica-2',
  'rung replica',
  'rung wait',
  'rung primary',
  'rung pinned',
  'rung quorum',
  'rung sessionCache',
  'rung stale',
  'rung notReady',
  'preset leader-reads',
  'preset token-fence',
  'preset quorum',
  'preset write-through-cache',
  'preset fence-on-write',
  'preset two-level',
  'pool facade',
  'transaction read-only',
  'monotonic reads',
  'second device, token store',
  'second device, primary first',
  'after reconnect',
  'http, cookie',
  'http, header',
  'balanced address',
  'after promotion',
]

let cli: CompiledCli
beforeAll(async () => {
  cli = await CompiledCli.compile()
})
afterAll(() => cli?.remove())

const json = ({ stdout }: Finished) => JSON.parse(stdout) as VerifyReport

describe('on a cluster of its own', () => {
  test('prints a line for each path; none missed a write, where reads without a fence did', LONG, async () => {
    const { code, stdout, stderr } = await cli.run(['verify', '--embedded', '--duration', '6'])
    expect([code, stderr]).toEqual([0, ''])
    const [titles, ...lines] = stdout.split('\n')
    expect(titles).toMatch(/^path +reads +at risk +violations +fallbacks +refused +added p50 +added p99 +staleness$/)
    for (const [index, path] of PATHS.entries()) {
      expect(lines[index]).toMatch(
        new RegExp(`^${path} {2,}[1-9]\\d* +\\d+ +0 +\\d+ +\\d+ +(\\S+ m?s|-) +(\\S+ m?s|-) +(\\S+ m?s|-)$`),
      )
    }
    // Which of the two misses how much, is the lag's affair; that together they do, is the verdict's.
    expect(lines[PATHS.length]).toMatch(/^control replica-1 \(no fence\) +[1-9]\d* +\d+ /)
    expect(lines[PATHS.length + 1]).toMatch(/^control replica-2 \(no fence\) +[1-9]\d* +\d+ /)
    expect(stdout).toMatch(
      /\n\nThe guarantee holds: none of \d+ fenced reads on 26 paths missed a write; without a fence [1-9]\d* of \d+ did\.\n$/,
    )
    expect(stdout).not.toContain('\x1b')
  })

  test('as JSON, and nothing but that', LONG, async () => {
    const finished = await cli.run(['verify', '--embedded', '--duration', '8', '--json'])
    expect([finished.code, finished.stderr]).toEqual([0, ''])
    const report = json(finished)
    expect(report).toMatchObject({ conclusive: true, inconclusive: [], violations: 0, lag: 'injected', skipped: [] })
    expect(report.control.violations).toBeGreaterThan(0)
    expect(report.control.reads).toBeGreaterThanOrEqual(report.control.violations)
    expect(report.paths.map(({ path }) => path)).toEqual(PATHS)
    for (const { path, reads, violations, fallbacks, addedP50Ms, addedP99Ms } of report.paths) {
      expect([path, reads > 0, violations, fallbacks >= 0]).toEqual([path, true, 0, true])
      for (const added of [addedP50Ms, addedP99Ms]) expect(added === null || Number.isFinite(added), path).toBe(true)
    }
    const readsOf = (path: string) => report.paths.find(each => each.path === path)!
    expect(readsOf('rung primary').fallbacks).toBe(readsOf('rung primary').reads)
    expect(readsOf('replica replica-1').fallbacks).toBe(0)
    // There was something to prevent also on each of these.
    for (const path of ['replica replica-1', 'pool facade', 'http, cookie', 'balanced address'])
      expect(readsOf(path).atRisk, path).toBeGreaterThan(0)
    // The opt-in to less is marked, and only there.
    expect(report.paths.filter(({ degraded }) => degraded > 0).map(({ path }) => path)).toEqual(['rung stale'])
  })

  test('a fence that is broken is reported as violations, in words, and by the exit code', LONG, async () => {
    const broken = await CompiledCli.compile()
    try {
      broken.patch('core/node.js', 'this.applied >= offset', 'true')
      const { code, stdout, stderr } = await broken.run(['verify', '--embedded', '--duration', '6'])
      expect(stderr).toMatch(/^The guarantee does not hold: \d+ violations in \d+ fenced reads\. That must never happen\.\n$/)
      expect(code).toBe(1)
      expect(stdout).toMatch(/^(?!control)[^:]+\S {2,}\d+ +\d+ +[1-9]\d* /m)
      // What does not go by that rule is not blamed.
      expect(stdout).toMatch(/^rung primary {2,}\d+ +\d+ +0 /m)
      expect(stdout).toMatch(/^[a-z -]+\d?: read-your-writes: operation \d+ of session .* wrote .*, which does not include it$/m)
    } finally {
      broken.remove()
    }
  })
})

describe('on a cluster that was there before', () => {
  /** One as every cluster is, one that somebody has given a delay of its own. */
  const AS_BEFORE = [
    { delay: '0', replay: 'not paused', altered: null },
    { delay: '7', replay: 'not paused', altered: '7ms' },
  ]

  let cluster: Cluster
  beforeAll(async () => {
    // A replica that catches up after a pause would cancel this test's own questions to it.
    cluster = await startCluster({ replicas: 2, settings: { max_standby_streaming_delay: '-1' } })
    await delayOwn()
    expect(await states()).toEqual(AS_BEFORE)
  })
  afterAll(() => cluster?.close())

  async function delayOwn(): Promise<void> {
    await cluster.query('replica-2', `alter system set recovery_min_apply_delay = '7ms'`)
    await cluster.query('replica-2', 'select pg_reload_conf()')
    await until(async () => (await state('replica-2')).delay === '7', 'the delay is in force', HANGS_MS)
  }

  const urls = () => ['--primary', cluster.url('primary'), ...cluster.replicas.flatMap(node => ['--replica', cluster.url(node)])]
  const nameOf = (node: string) => new URL(cluster.url(node)).host
  const schemas = async () =>
    (
      await cluster.query<{ name: string }>('primary', `select nspname as name from pg_namespace where nspname like 'tidemark%'`)
    ).map(({ name }) => name)

  /** What a run may change of a replica, as the server and its files say. */
  async function state(node: string) {
    const sql = `select setting as delay, pg_get_wal_replay_pause_state() as replay,
      (select string_agg(setting, ' ') from pg_file_settings where sourcefile like '%auto.conf') as altered
      from pg_settings where name = 'recovery_min_apply_delay'`
    return (await cluster.query<{ delay: string; replay: string; altered: string | null }>(node, sql))[0]!
  }
  const states = () => Promise.all(cluster.replicas.map(state))

  afterEach(async () => {
    expect(await schemas()).toEqual([])
    // A server that was told to reload does so in a moment.
    await until(async () => isDeepStrictEqual(await states(), AS_BEFORE), 'everything is as before', HANGS_MS)
  })

  test('uses the lag that is there, changes nothing, and says what it leaves out', LONG, async () => {
    await cluster.lag('replica-1', 100)
    const running = cli.run(['verify', ...urls(), '--duration', '4', '--json'])
    await until(async () => (await schemas()).length > 0, 'the run is under way', HANGS_MS)
    const delays = new Set<string>()
    const ended = running.then(() => true)
    await until(
      async () => {
        delays.add((await state('replica-1')).delay)
        return Promise.race([ended, false])
      },
      'the run has ended',
      HANGS_MS,
    )
    const finished = await running
    await cluster.lag('replica-1', 0)
    expect([finished.code, finished.stderr]).toEqual([0, ''])
    expect(delays).toEqual(new Set(['100']))
    const report = json(finished)
    expect(report).toMatchObject({ conclusive: true, violations: 0, lag: 'found' })
    expect(report.skipped.map(({ path }) => path)).toEqual(['balanced address', 'after promotion'])
    expect(report.paths.map(({ path }) => path)).toContain(`replica ${nameOf('replica-1')}`)
    expect(report.paths.map(({ path }) => path)).not.toContain('after promotion')
    expect(finished.stdout).not.toContain(new URL(cluster.url('primary')).password)
  })

  test('with --inject makes replicas lag, and puts back what was there', LONG, async () => {
    const running = cli.run([
      'verify',
      ...urls(),
      '--inject',
      '--balanced',
      cluster.url('replica-1'),
      '--duration',
      '6',
      '--json',
    ])
    await until(async () => (await state('replica-2')).delay === '500', 'a delay of its own', HANGS_MS)
    await until(async () => (await states()).some(({ replay }) => replay === 'paused'), 'a pause', HANGS_MS)
    const finished = await running
    expect([finished.code, finished.stderr]).toEqual([0, ''])
    const report = json(finished)
    expect(report).toMatchObject({ conclusive: true, violations: 0, lag: 'injected' })
    expect(report).toHaveProperty(
      'changed',
      cluster.replicas.map(node => expect.stringContaining(nameOf(node))),
    )
    expect(report.paths.map(({ path }) => path)).toContain('balanced address')
    for (const { violations } of report.control.replicas) expect(violations).toBeGreaterThan(0)
  })

  test('whatever is in force when it ends is put back; what was paused before is left alone', async () => {
    const nodes = cluster.nodes.map(name => ({ name, url: cluster.url(name) }))
    const injector = await LagInjector.open(nodes, pg)
    for (const node of cluster.replicas) {
      await injector.delay(node, 400)
      await injector.pause(node)
    }
    const changed = { delay: '400', replay: 'paused', altered: '400ms' }
    expect(await states()).toEqual([changed, changed])
    await injector.close()
    await until(async () => isDeepStrictEqual(await states(), AS_BEFORE), 'everything is as before', HANGS_MS)
    await cluster.pause('replica-1')
    const careful = await LagInjector.open(nodes, pg)
    await careful.delay('replica-1', 400)
    await careful.resume('replica-1')
    await careful.close()
    expect((await states())[0]).toEqual({ ...AS_BEFORE[0], replay: 'paused' })
    await cluster.resume('replica-1')
  })

  test('Ctrl-C drops the schema and puts everything back', LONG, async () => {
    const child = cli.start(['verify', ...urls(), '--inject', '--duration', '600'])
    const stderr = text(child.stderr!)
    await until(async () => (await schemas()).length === 1, 'the schema is there', HANGS_MS)
    expect(await schemas()).toEqual([expect.stringMatching(/^tidemark_verify_[0-9a-f]{16}$/)])
    await until(async () => (await states()).some(({ replay }) => replay === 'paused'), 'a pause', HANGS_MS)
    child.kill('SIGINT')
    expect(await once(child, 'exit')).toEqual([130, null])
    // It says what it has changed, and nothing is wrong with that.
    const [first, second, end] = (await stderr).split('\n')
    expect(first).toBe(
      `warning: changed in the run, and put back unless said otherwise: ${nameOf('replica-1')}: replay was paused and resumed, and recovery_min_apply_delay set (before: not by ALTER SYSTEM)`,
    )
    expect(second).toMatch(/recovery_min_apply_delay set \(before: '7ms'\)$/)
    expect(end).toBe('')
  })

  test('a replica that dies ends the run; the rest is put back, and what could not be is said', LONG, async () => {
    const child = cli.start(['verify', ...urls(), '--inject', '--duration', '600'])
    const stderr = text(child.stderr!)
    await until(async () => (await state('replica-1')).delay === '500', 'a delay of its own', HANGS_MS)
    await cluster.kill('replica-2')
    expect(await once(child, 'exit')).toEqual([1, null])
    await cluster.start('replica-2')
    expect(await stderr).toMatch(
      new RegExp(
        `warning: ${nameOf('replica-2')} could not be put back as it was .*ALTER SYSTEM SET recovery_min_apply_delay = '7ms';`,
      ),
    )
    await delayOwn()
    await cluster.caughtUp()
  })

  test('without the rights it does nothing, and says which they are', LONG, async () => {
    await cluster.query('primary', `create role app login password 'sesame' in role pg_monitor`)
    await cluster.caughtUp()
    const asApp = urls().map(each => (each.startsWith('--') ? each : each.replace(/\/\/[^@]*@/, '//app:sesame@')))
    const injecting = await cli.run(['verify', ...asApp, '--inject', '--duration', '2'])
    expect([injecting.code, injecting.stdout]).toEqual([1, ''])
    expect(injecting.stderr).toMatch(
      /the user app may not make .* lag.*GRANT EXECUTE ON FUNCTION pg_wal_replay_pause\(\).* TO "app"/,
    )
    const creating = await cli.run(['verify', ...asApp, '--duration', '2'])
    expect([creating.code, creating.stdout]).toEqual([1, ''])
    expect(creating.stderr).toMatch(/GRANT CREATE ON DATABASE/)

    // What it says is enough.
    await cluster.query('primary', 'grant create on database postgres to app')
    await cluster.query(
      'primary',
      'grant execute on function pg_wal_replay_pause(), pg_wal_replay_resume(), pg_reload_conf() to app; ' +
        'grant alter system on parameter recovery_min_apply_delay to app',
    )
    await cluster.caughtUp()
    const allowed = await cli.run(['verify', ...asApp, '--inject', '--duration', '4', '--json'])
    expect([allowed.code, allowed.stderr]).toEqual([0, ''])
    expect(json(allowed)).toMatchObject({ conclusive: true, violations: 0 })
  })

  test('tells of a schema that a killed run has left', LONG, async () => {
    await cluster.lag('replica-1', 100)
    await cluster.query('primary', 'create schema tidemark_verify_00000000deadbeef')
    const { code, stderr } = await cli.run(['verify', ...urls(), '--duration', '3'])
    expect(stderr).toMatch(
      /^warning: a run that was killed has left a schema; .* drop schema tidemark_verify_00000000deadbeef cascade;\n$/,
    )
    expect(code).toBe(0)
    expect(await schemas()).toEqual(['tidemark_verify_00000000deadbeef'])
    await cluster.query('primary', 'drop schema tidemark_verify_00000000deadbeef cascade')
    await cluster.lag('replica-1', 0)
  })
})

test('where nothing lags nothing is proved: exit code 2', LONG, async () => {
  // Every commit waits until the replica shows it.
  await using cluster = await startCluster({ replicas: 1 })
  await cluster.query('primary', `alter system set synchronous_standby_names = '*'`)
  await cluster.query('primary', `alter system set synchronous_commit = 'remote_apply'`)
  await cluster.query('primary', 'select pg_reload_conf()')
  await until(
    async () => {
      const [row] = await cluster.query<{ state: string }>('primary', 'select sync_state as state from pg_stat_replication')
      return row?.state === 'sync'
    },
    'the replica is synchronous',
    HANGS_MS,
  )
  const args = ['--primary', cluster.url('primary'), '--replica', cluster.url('replica-1'), '--duration', '2']
  const { code, stdout, stderr } = await cli.run(['verify', ...args, '--json'])
  expect(stderr).toMatch(/^Nothing is proved: none of \d+ reads without a fence missed a write/)
  expect(code).toBe(2)
  expect(JSON.parse(stdout)).toMatchObject({ conclusive: false, violations: 0, control: { violations: 0 } })
})
