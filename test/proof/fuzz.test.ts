import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ConfigurationError } from '../../src/core/errors.js'
import { TokenCodec } from '../../src/core/token/codec.js'
import { readLayout, type TokenContent, TokenRejectedError } from '../../src/core/token/layout.js'
import { VirtualClock } from '../../src/core/virtual-clock.js'
import { commandLineTarget } from '../../src/proof/fuzz/command-line-target.js'
import { configurationTarget, type EntryPoint } from '../../src/proof/fuzz/configuration-target.js'
import { SECRETS } from '../../src/proof/fuzz/forged-tokens.js'
import { fuzz, replayCommand } from '../../src/proof/fuzz/fuzz.js'
import { historyTarget } from '../../src/proof/fuzz/history-target.js'
import { FuzzDatabase, httpTarget } from '../../src/proof/fuzz/http-target.js'
import { catchUncaught } from '../../src/proof/fuzz/judge.js'
import { openNodeTarget } from '../../src/proof/fuzz/node-target.js'
import { type Failure, runBatch } from '../../src/proof/fuzz/run-batch.js'
import { Observer } from '../../src/proof/fuzz/sql/observer.js'
import { SCHEMA } from '../../src/proof/fuzz/sql/schema.js'
import { type Classify, openSqlTarget } from '../../src/proof/fuzz/sql/sql-target.js'
import { Tally, type Target } from '../../src/proof/fuzz/target.js'
import { tokenTarget } from '../../src/proof/fuzz/token-target.js'
import { type Cluster, checkHistory, startCluster } from '../../src/testing/index.js'

// Each target finds nothing in the library, and does find what is wrong with a version of it that is broken on purpose:
// otherwise it would prove nothing to find nothing.

const SLICE_MS = 1_000

let release: () => void
beforeAll(() => {
  release = catchUncaught()
})
afterAll(() => release())

/** The first failure of a few seeds. */
async function failureOf<Case>(target: Target<Case>): Promise<Failure | undefined> {
  // The machine may be slow: what ends the search is what it looks for.
  for (let seed = 1; seed <= 60; seed++) {
    const { failure } = await runBatch(target, { seed, timeLimitMs: SLICE_MS })
    if (failure !== undefined) return failure
  }
  return undefined
}

/** Believes whatever can be read. */
class UnsignedCodec extends TokenCodec {
  override open(token: string): TokenContent {
    if (typeof token !== 'string') return super.open(token)
    return readLayout(Buffer.from(token, 'base64url'))
  }
}

/** Takes one user's token from another. */
class UnboundCodec extends TokenCodec {
  override open(token: string, options = {}): TokenContent {
    try {
      return super.open(token, options)
    } catch (error) {
      if (error instanceof TokenRejectedError && error.reason === 'other-user') return readLayout(Buffer.from(token, 'base64url'))
      throw error
    }
  }
}

const unsigned = () => new UnsignedCodec({ secret: SECRETS, clock: new VirtualClock() })

describe('nothing is found in', () => {
  test.each([
    ['tokens', () => tokenTarget(), ['accepted, rightly', 'bad-signature', 'other-user', 'from-the-future', 'reads by replica']],
    ['http', () => httpTarget(), ['something believed', 'nothing believed', 'an answer']],
    ['node', () => openNodeTarget(), ['status 200', 'status 400']],
    ['histories', () => historyTarget(), ['refused', 'reports: violations', 'reports: nothing wrong']],
    ['configuration', () => configurationTarget(), ['tidemark: refused', 'wait: works', 'wait: refused']],
    ['command-line', () => commandLineTarget(), ['exit 0', 'exit 2']],
  ] as const)('%s', async (_, open, reached) => {
    const target: Target = await open()
    try {
      expect((await runBatch(target, { seed: 4, timeLimitMs: 2 * SLICE_MS })).failure).toBeUndefined()
      expect(Object.keys(target.seen.counts)).toEqual(expect.arrayContaining([...reached]))
    } finally {
      await target.close()
    }
  })
})

describe('what is broken is found:', () => {
  test('a codec that does not check signatures', async () => {
    expect(await failureOf(tokenTarget({ createCodec: options => new UnsignedCodec(options) }))).toMatchObject({
      kind: 'accepted',
    })
  })

  test('a codec that does not ask whose token it is', async () => {
    expect(await failureOf(tokenTarget({ createCodec: options => new UnboundCodec(options) }))).toMatchObject({
      kind: 'accepted',
    })
  })

  test('the same behind the exchange, and behind a server', async () => {
    expect(await failureOf(httpTarget({ db: new FuzzDatabase(unsigned()) }))).toBeDefined()
    const server = await openNodeTarget({ db: new FuzzDatabase(unsigned()) })
    expect(await failureOf(server).finally(server.close)).toBeDefined()
  })

  test('a checker that trusts what it reads', async () => {
    const trusting = async (records: Parameters<typeof checkHistory>[0]) => {
      for await (const record of records) if (record.type === 'op') record.reads!.at(0)
      return checkHistory([])
    }
    expect(await failureOf(historyTarget({ check: trusting }))).toMatchObject({
      kind: 'crash',
      message: expect.stringContaining('TypeError'),
    })
  })

  test.each<[string, RegExp, EntryPoint['use']]>([
    ['goes by a TypeError', /TypeError/, ({ n }) => (n as string).length],
    [
      'says nothing',
      /says too little/,
      () => {
        throw new ConfigurationError('bad')
      },
    ],
    ['leaves a timer behind', /1 timers behind/, (_, clock) => void clock.setTimer(() => {}, 60_000)],
  ])('an entry point that %s', async (_, message, use) => {
    const failure = await failureOf(configurationTarget({ broken: { options: { n: fc.constantFrom(null, 'x') }, use } }))
    expect(failure).toMatchObject({ kind: 'crash', message: expect.stringMatching(message) })
  })

  test.each([
    [
      'throws',
      async () => {
        throw new Error('deep inside')
      },
    ],
    ['ends with a code of its own', async () => 3],
    ['says nothing', async () => 2],
  ])('a command line that %s', async (_, run) => {
    expect(await failureOf(commandLineTarget({ run }))).toMatchObject({ kind: 'crash' })
  })

  test('an entry point that rejects where nobody listens', async () => {
    // The runner's own listener would fail the run for what is meant to happen here.
    const others = process.listeners('unhandledRejection').filter(each => each.name !== 'note')
    for (const each of others) process.off('unhandledRejection', each)
    try {
      const use = () => void Promise.reject(new Error('late'))
      const failure = await failureOf(configurationTarget({ broken: { options: {}, use } }))
      expect(failure).toMatchObject({ kind: 'crash', message: expect.stringContaining('nobody caught: Error: late') })
    } finally {
      for (const each of others) process.on('unhandledRejection', each)
    }
  })

  test('what hangs, and what is slow', async () => {
    const base = { name: 'slow', cases: fc.constant(0), seen: new Tally(), close: async () => {} }
    const hangs = { ...base, deadlineMs: 20, check: () => new Promise<undefined>(() => {}) }
    expect(await failureOf(hangs)).toMatchObject({ kind: 'wait', message: expect.stringContaining('has not ended') })
    const burns = () => {
      for (const until = process.cpuUsage().user + 5_000; process.cpuUsage().user < until; );
      return undefined
    }
    expect(await failureOf({ ...base, deadlineMs: 5_000, cpuBoundMs: 2, check: burns })).toMatchObject({
      kind: 'wait',
      message: expect.stringContaining('processor time'),
    })
  })
})

test('a failure is shrunk, and its command repeats it', async () => {
  const base = { name: 'digits', seen: new Tally(), deadlineMs: 1_000, close: async () => {} }
  const target: Target<number> = {
    ...base,
    cases: fc.nat({ max: 10_000 }),
    check: n => (n > 1_234 ? { kind: 'accepted', message: `took ${n}` } : undefined),
  }
  const { failure } = await runBatch(target, { seed: 7, timeLimitMs: SLICE_MS })
  expect(failure).toMatchObject({ input: '1235', message: 'took 1235' })
  expect(replayCommand(failure!)).toBe(`npm run fuzz -- --target digits --seed 7 --path ${failure!.path}`)
  const options = {
    sources: [
      { name: 'digits', open: async () => target },
      { name: 'none', open: async () => undefined },
    ],
    seconds: 1,
  }
  const unwatched = { signal: new AbortController().signal, onProgress: () => {} }
  const report = await fuzz({ ...options, ...unwatched, seed: failure!.seed, path: failure!.path })
  expect(report).toMatchObject({ cases: 1, accepted: 1, crashes: 0, waits: 0, skipped: ['none'] })
  expect(report.failures).toEqual([failure])
})

describe('statements', () => {
  let cluster: Cluster
  beforeAll(async () => {
    cluster = await startCluster({ replicas: 0, settings: { autovacuum: 'off' } })
    await cluster.query('primary', SCHEMA.replaceAll(/create temporary table.*/g, ''))
  })
  afterAll(() => cluster?.close())

  test('the observer sees whatever a statement leaves behind, and nothing when it is a read', async () => {
    const observer = await Observer.ofPrimary(cluster.url('primary'))
    const changesOf = async (text: string) => {
      const { answer, changes } = await observer.run(text, 'postgres')
      expect(answer.code, `${text}: ${answer.message}`).toBeUndefined()
      return changes.join('\n')
    }
    try {
      for (const [text, expected] of [
        ["select nextval('app.counter')", /app\.counter/],
        ["select setval('app.counter', 7)", /app\.counter/],
        ['with x as (insert into app.holders values (1) returning n) select * from x', /app\.holders/],
        ['update users set name = name where id = 1', /next transaction id/],
        ['select * from users for share', /locks: .*RowShareLock/],
        ['select pg_advisory_lock(1)', /advisory locks/],
        ['select pg_advisory_xact_lock(1)', /locks: .*advisory/],
        ["select set_config('work_mem', '1MB', false)", /settings/],
        ["select set_config('fuzz.setting', 'x', false)", /a setting of one's own/],
        ['set work_mem = 100', /settings/],
        ['prepare fuzzed as select 1', /prepared statements/],
        ['declare c cursor with hold for select 1', /cursors/],
        ['listen fuzz', /channels/],
        ['notify fuzz', /next transaction id/],
        ['create temp table fuzzed (id int)', /temporary schema/],
        ['select lo_create(0)', /next transaction id/],
        ['select txid_current()', /transaction id/],
        ['select * from app.lock_view', /advisory locks/],
        ['select app.writes(1)', /app\.orders/],
      ] as const) {
        expect(await changesOf(text), text).toMatch(expected)
      }
      for (const text of [
        'select * from users',
        'explain analyze select 1',
        'copy users to stdout',
        'select initials(u) from users u',
      ]) {
        expect(await changesOf(text), text).toBe('')
      }
    } finally {
      await observer.close()
    }
  })

  test('nothing that is taken for a read is none; and what a broken classifier takes for one is found', {
    timeout: 180_000,
  }, async () => {
    let broken: ((text: string) => boolean) | undefined
    const target = (await openSqlTarget({ override: (classify: Classify) => text => classify(text) || broken?.(text) === true }))!
    try {
      expect((await runBatch(target, { seed: 1, timeLimitMs: 2 * SLICE_MS })).failure).toBeUndefined()
      expect(Object.keys(target.seen.counts)).toEqual(expect.arrayContaining(['reads', 'no read']))
      broken = text => /^with/i.test(text)
      expect(await failureOf(target)).toMatchObject({ kind: 'accepted' })
      broken = text => /^select [^;]*\(/i.test(text)
      expect(await failureOf(target)).toMatchObject({ kind: 'accepted' })
    } finally {
      await target.close()
    }
  })
})
