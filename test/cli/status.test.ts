import { once } from 'node:events'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Finding, findingsOf, type NodeReport } from '../../src/cli/status/findings.js'
import type { ServerFacts } from '../../src/cli/status/inspect.js'
import type { StatusReport } from '../../src/cli/status/observer.js'
import type { NodeStatus } from '../../src/engines/postgres/index.js'
import { type Cluster, startCluster } from '../../src/testing/index.js'
import { CompiledCli, type Finished } from './compiled-cli.js'

const FACTS: ServerFacts = {
  version: '17.2',
  versionNumber: 170_002,
  recovering: false,
  system: '1',
  user: 'app',
  maySeeReceiver: true,
  receiver: undefined,
  replayPaused: false,
  settings: {
    synchronous_commit: 'on',
    fsync: 'on',
    full_page_writes: 'on',
    hot_standby_feedback: 'off',
    max_standby_streaming_delay: '30000',
    recovery_min_apply_delay: '0',
    restore_command: '',
    recovery_target_timeline: 'latest',
    default_transaction_read_only: 'off',
  },
}

function status(node: string, overrides: Partial<NodeStatus>): NodeStatus {
  const position = { timeline: 1, applied: '0/1', behindBytes: 0, stalenessMs: 3 }
  const load = { balanced: false, inFlight: 0, latencyMs: 1 }
  return { node, role: 'primary', usable: true, problem: undefined, region: undefined, ...position, ...load, ...overrides }
}

type Overrides = Partial<Omit<ServerFacts, 'settings'>> & { settings?: Record<string, string> }

function primary(overrides: Overrides = {}, node: Partial<NodeStatus> = {}): NodeReport {
  const facts = { ...FACTS, ...overrides, settings: { ...FACTS.settings, ...overrides.settings } }
  return { status: status('p', node), inspection: { facts } }
}

function standby(overrides: Overrides = {}, node: Partial<NodeStatus> = {}): NodeReport {
  const { inspection } = primary({ recovering: true, receiver: 'streaming', ...overrides })
  return { status: status('s', { role: 'replica', ...node }), inspection }
}

function unreachable(hotStandbyOff = false): NodeReport {
  const failure = { message: 'the database system is not accepting connections', hotStandbyOff }
  return { status: status('x', { role: undefined, usable: false, problem: failure.message }), inspection: { failure } }
}

const brief = (findings: readonly Finding[]) => findings.map(({ severity, node, found }) => [severity, node, found])

describe('findings', () => {
  test('there are none about a primary and a streaming standby with the usual settings', () => {
    expect(findingsOf([primary(), standby()])).toEqual([])
  })

  test.each<[string, NodeReport, Finding['severity'], RegExp]>([
    ['asynchronous commits', primary({ settings: { synchronous_commit: 'off' } }), 'warning', /^synchronous_commit = off/],
    ['no fsync', primary({ settings: { fsync: 'off' } }), 'warning', /^fsync = off/],
    ['a read-only primary', primary({ settings: { default_transaction_read_only: 'on' } }), 'warning', /read_only = on/],
    ['a primary that may not see', primary({ maySeeReceiver: false }), 'note', /app lacks pg_monitor/],
    ['a standby that may not see', standby({ maySeeReceiver: false, receiver: undefined }), 'warning', /app lacks pg_monitor/],
    ['a standby without a receiver', standby({ receiver: undefined }), 'warning', /no WAL receiver/],
    ['a receiver that waits', standby({ receiver: 'waiting' }), 'warning', /waiting, not streaming/],
    ['an archive', standby({ receiver: undefined, settings: { restore_command: 'cp' } }), 'warning', /archive/],
    ['a pause', standby({ replayPaused: true }), 'warning', /replay is paused/],
    ['a delay', standby({ settings: { recovery_min_apply_delay: '300000' } }), 'note', /= 5 min/],
    ['conflicts for ever', standby({ settings: { max_standby_streaming_delay: '-1' } }), 'note', /delay = -1 with/],
    ['long conflicts', standby({ settings: { max_standby_streaming_delay: '600000' } }), 'note', /delay = 10 min with/],
    ['another timeline', standby({ settings: { recovery_target_timeline: '3' } }), 'note', /timeline = 3/],
    ['a long lag', standby({}, { stalenessMs: 90_000 }), 'note', /as it was 2 min ago/],
    ['an old server', standby({ version: '12.3', versionNumber: 120_003 }, { usable: false }), 'warning', /12\.3 is too old/],
    ['whatever else', standby({}, { usable: false, problem: 'it sulks' }), 'warning', /is not used: it sulks/],
    ['no answer', unreachable(), 'warning', /does not answer/],
  ])('%s', (_, report, severity, found) => {
    const isPrimary = report.status.role === 'primary'
    const findings = findingsOf(isPrimary ? [report, standby()] : [primary(), report, standby()])
    expect(brief(findings)).toEqual([[severity, report.status.node, expect.stringMatching(found)]])
    for (const { why, advice } of findings) expect([why, advice]).not.toContain('')
  })

  test('long conflicts are none when the primary is told what the standby reads', () => {
    const settings = { max_standby_streaming_delay: '-1', hot_standby_feedback: 'on' }
    expect(findingsOf([primary(), standby({ settings })])).toEqual([])
  })

  test('a standby that refuses queries by its settings is told apart from one that is down', () => {
    const [finding] = findingsOf([primary(), standby(), unreachable(true)])
    expect(finding?.advice).toContain('hot_standby = on')
  })

  test('without a primary or any node nothing can be guaranteed; two primaries are no better than none', () => {
    expect(brief(findingsOf([standby()]))).toEqual([['fatal', undefined, expect.stringMatching(/no primary/)]])
    expect(brief(findingsOf([unreachable()]))[0]).toEqual(['fatal', undefined, 'not one node can be used'])
    const torn = { usable: false, problem: 'two primaries' }
    expect(brief(findingsOf([primary({}, torn), primary({}, torn)])).slice(0, 2)).toEqual([
      ['fatal', undefined, 'not one node can be used'],
      ['warning', undefined, '2 of these nodes are out of recovery'],
    ])
    expect(brief(findingsOf([primary()]))).toEqual([['note', undefined, expect.stringMatching(/no replica/)]])
  })
})

describe('tidemark status', () => {
  let cli: CompiledCli
  let cluster: Cluster

  beforeAll(async () => {
    const started = await Promise.all([CompiledCli.compile(), startCluster({ replicas: 2 })])
    cli = started[0]
    cluster = started[1]
  })

  afterAll(async () => {
    cli.remove()
    await cluster.close()
  })

  const idOf = (node: string) => new URL(cluster.url(node)).host
  const json = ({ stdout }: Finished) => JSON.parse(stdout) as StatusReport

  /** Whatever else is wrong with a cluster for tests: it does not flush to disk. */
  function without(found: string, { findings }: StatusReport) {
    return brief(findings.filter(finding => finding.found !== found))
  }

  test('shows the nodes of a cluster, and never a password', async () => {
    const { code, stdout, stderr } = await cli.run(['status', ...cluster.urls])
    expect([code, stderr]).toEqual([0, ''])
    for (const node of cluster.nodes) {
      const role = node === cluster.primary ? 'primary' : 'replica'
      expect(stdout).toMatch(new RegExp(`^${idOf(node)} +${role} +used +1 +[0-9A-F]+/[0-9A-F]+ .*\\d+\\.\\d+$`, 'm'))
    }
    expect(stdout).toMatch(/^! \S+: fsync = off\. A crash .* To do: /m)
    expect(stdout).not.toContain('\x1b')
    expect(stdout + stderr).not.toContain(new URL(cluster.url('primary')).password)
  })

  test('as JSON: how far replicas are, and what was found', async () => {
    await cluster.caughtUp()
    const report = json(await cli.run(['status', '--json', ...cluster.urls]))
    expect(report.ok).toBe(true)
    expect(report.nodes.map(({ role, usable }) => [role, usable])).toEqual([
      ['primary', true],
      ['replica', true],
      ['replica', true],
    ])
    for (const { stalenessMs } of report.nodes) expect(stalenessMs).toBeGreaterThanOrEqual(0)
    expect(without('fsync = off', report)).toEqual([])
  })

  test('finds what holds replicas up', async () => {
    await cluster.lag('replica-1', 5_000)
    await cluster.pause('replica-2')
    const report = json(await cli.run(['status', '--json', ...cluster.urls]))
    await cluster.lag('replica-1', 0)
    await cluster.resume('replica-2')
    expect(without('fsync = off', report)).toEqual([
      ['warning', idOf('replica-2'), 'replay is paused'],
      ['note', idOf('replica-1'), 'recovery_min_apply_delay = 5.0 s'],
    ])
  })

  test('a user without pg_monitor is told what to run; it is not usable, and the rest is', async () => {
    await cluster.query('primary', `create role stranger login password 'sesame'`)
    await cluster.caughtUp()
    const strange = new URL(cluster.url('replica-1'))
    strange.username = 'stranger'
    strange.password = 'sesame'
    const { code, stdout, stderr } = await cli.run(['status', cluster.url('primary'), strange.href, cluster.url('replica-2')])
    expect(code).toBe(0)
    expect(stdout).toMatch(/the user stranger lacks pg_monitor.*GRANT pg_monitor TO "stranger"/)
    expect(stdout).toMatch(new RegExp(`^${idOf('replica-1')} .* not used`, 'm'))
    expect(stdout + stderr).not.toContain('sesame')
  })

  test('without a primary the exit code is 1', async () => {
    const { code, stdout } = await cli.run(['status', cluster.url('replica-1'), cluster.url('replica-2')])
    expect(code).toBe(1)
    expect(stdout).toMatch(/^✗ cluster: there is no primary/m)
  })

  test('with nobody there the exit code is 1, and each node says why', async () => {
    await using other = await startCluster({ replicas: 0 })
    const url = other.url('primary')
    const { password } = new URL(url)
    await other.stop('primary')
    const { code, stdout, stderr } = await cli.run(['status', url])
    expect([code, stderr]).toEqual([1, ''])
    expect(stdout).toMatch(/does not answer: .*ECONNREFUSED/)
    expect(stdout).not.toContain(password)
  })

  test('nodes of two systems are not used together', async () => {
    await using other = await startCluster({ replicas: 0 })
    const report = json(await cli.run(['status', '--json', ...cluster.urls, other.url('primary')]))
    // Whose system it is, is for the first node that answers to say.
    const strangers = report.nodes.filter(({ usable }) => !usable).map(({ node }) => node)
    expect([cluster.nodes.map(idOf), [new URL(other.url('primary')).host]]).toContainEqual(strangers)
    expect(without('fsync = off', report)).toEqual([
      ['warning', undefined, 'these nodes belong to 2 different systems'],
      ...strangers.map(node => ['warning', node, expect.stringContaining('another system')]),
      ...(strangers.length > 1 ? [['note', undefined, expect.stringContaining('no replica')]] : []),
    ])
  })

  test('--watch goes on until it is interrupted, and sees what changes', async () => {
    const child = cli.start(['status', '--json', '--watch', '0.1', ...cluster.urls])
    const reports: StatusReport[] = []
    let rest = ''
    const sees = async (condition: (report: StatusReport) => boolean) => {
      while (!reports.some(condition)) {
        rest += String((await once(child.stdout!, 'data'))[0])
        const lines = rest.split('\n')
        rest = lines.pop()!
        reports.push(...lines.map(line => JSON.parse(line) as StatusReport))
      }
    }
    await sees(({ ok }) => ok)
    await cluster.pause('replica-1')
    await sees(({ findings }) => findings.some(({ found }) => found === 'replay is paused'))
    await cluster.resume('replica-1')
    child.kill('SIGINT')
    expect(await once(child, 'exit')).toEqual([0, null])
  })

  test('leaves no connection behind', async () => {
    await cli.run(['status', ...cluster.urls])
    const client = new pg.Client(cluster.url('primary'))
    await client.connect()
    const count = `select count(*)::int as left from pg_stat_activity where application_name like 'tidemark%'`
    await expect.poll(async () => (await client.query(count)).rows, { timeout: 15_000 }).toEqual([{ left: 0 }])
    await client.end()
  })
})
