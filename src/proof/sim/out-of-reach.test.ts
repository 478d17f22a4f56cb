/** A peer that is taken out before others have its log takes its writes along: what is then not held against the code, and what is. */
import { describe, expect, test } from 'vitest'
import { SimulatedLeaderlessCluster } from '../../engines/simulated/leaderless-cluster.js'
import { Simulation } from '../../engines/simulated/simulation.js'
import type { RuleName } from '../../testing/history/rules.js'
import { isOfTransaction } from './exclusions.js'
import { outOfReach } from './out-of-reach.js'
import { judgeOperations, Violations } from './own-rules.js'
import { playSchedule } from './play-schedule.js'
import { type Noted, recordOf } from './recorder.js'
import type { Fault, RequestStep, Schedule, Step } from './schedule.js'
import { Truth } from './truth.js'

const [ONE, TWO, THREE] = [{ id: 'db-1' }, { id: 'db-2' }, { id: 'db-3' }]

describe('out of reach', () => {
  test('is what only peers have that have left, as long as nobody else has it', async () => {
    const simulation = new Simulation(1)
    const leaderless = new SimulatedLeaderlessCluster(simulation, { servers: [ONE, TWO, THREE] })
    const write = async (value: string) => {
      const connection = leaderless.connect('app', 'db-1')
      await connection.opened
      await connection.request({ kind: 'write', values: [['k', value]], asyncCommit: false })
    }
    const until = (isDone: () => boolean) => simulation.run({ isDone, until: simulation.now() + 10_000 })
    let written = false
    for (const id of ['db-2', 'db-3']) leaderless.delay('db-1', id, 1_000)
    void write('v').then(() => {
      written = true
    })
    await until(() => written)
    const departed = new Set(['db-1'])
    expect(outOfReach({ leaderless, departed }, [TWO, THREE])).toEqual(['v'])
    // The router knows the peer (again), or it never left, or there are no peers.
    expect(outOfReach({ leaderless, departed }, [ONE, TWO])).toEqual([])
    expect(outOfReach({ leaderless, departed: new Set() }, [TWO, THREE])).toEqual([])
    expect(outOfReach({ leaderless: undefined, departed }, [TWO, THREE])).toEqual([])
    // A peer that is known counts also while it cannot be asked.
    leaderless.crash('db-1')
    expect(outOfReach({ leaderless, departed }, [ONE, TWO])).toEqual([])
    leaderless.restart('db-1')
    leaderless.delay('db-1', 'db-2', 0)
    await until(() => leaderless.server('db-2').data.get('k@db-1.1')?.value === 'v')
    expect(outOfReach({ leaderless, departed }, [TWO, THREE])).toEqual([])
    expect(outOfReach({ leaderless, departed }, [THREE])).toEqual(['v'])
  })
})

describe('a session that is settled without what was out of reach', () => {
  const KEY = 'k@db-1.1'
  const truth = new Truth(
    [{ type: 'version', key: KEY, value: 'v', prev: null }],
    [{ type: 'final', key: KEY, value: 'v' }],
    new Map([[`${KEY} v`, 5]]),
  )
  const noted = (id: number, more: Partial<Noted>): Noted => {
    const start = id * 10
    return { id, session: 'd', user: 'u', device: 'd', start, end: start + 5, status: 'ok', asked: 'read-your-writes', ...more }
  }
  const reads = [[KEY, null]] as const
  const writes = [[KEY, 'v']] as const
  const broken = (...operations: readonly Noted[]) => {
    const violations = new Violations()
    judgeOperations(operations, truth, { quorums: false, rivals: false }, violations)
    return violations.all.map(({ rule }) => rule)
  }

  test('need not show it to a new device, if that very read settled it', () => {
    const write = noted(1, { device: 'e', session: 'e', writes })
    const read = noted(3, { tokenless: true, reads })
    const rule = ['known-user-without-token']
    expect(broken(write, { ...read, settles: true, outOfReach: ['v'] })).toEqual([])
    expect(broken(write, read)).toEqual(rule)
    expect(broken(write, { ...read, settles: true, outOfReach: ['w'] })).toEqual(rule)
    expect(broken(write, noted(2, { settles: true, outOfReach: ['v'] }), read)).toEqual(rule)
  })

  test('need not show it to the device in doubt, if one of its operations since settled it', () => {
    const doubted = noted(1, { status: 'unknown', doubted: true, writes })
    const read = noted(3, { reads })
    const rule = ['doubt-settled']
    const settling = noted(2, { settles: true, outOfReach: ['v'] })
    expect(broken(doubted, { ...read, settles: true, outOfReach: ['v'] })).toEqual([])
    expect(broken(doubted, settling, read)).toEqual([])
    expect(broken(doubted, read)).toEqual(rule)
    expect(broken(doubted, { ...settling, settles: true, outOfReach: ['w'] }, read)).toEqual(rule)
    expect(broken(doubted, { ...settling, device: 'e' }, read)).toEqual(rule)
    // Before the doubt, or later than the read, or never heard of by the device.
    expect(broken(noted(0, { settles: true, outOfReach: ['v'] }), doubted, read)).toEqual(rule)
    expect(broken(doubted, read, noted(4, { settles: true, outOfReach: ['v'] }))).toEqual(rule)
    const { end: _, ...unheard } = settling
    expect(broken(doubted, unheard, read)).toEqual(rule)
  })

  test('need not show it to the device in doubt, once that was told of the loss', () => {
    const doubted = noted(1, { status: 'unknown', doubted: true, writes })
    const told = noted(2, { reportsLoss: true, outOfReach: ['v'] })
    const read = noted(3, { reads })
    const rule = ['doubt-settled']
    expect(broken(doubted, told, read)).toEqual([])
    expect(broken(doubted, { ...told, reportsLoss: false }, read)).toEqual(rule)
    expect(broken(doubted, { ...told, outOfReach: ['w'] }, read)).toEqual(rule)
    expect(broken(doubted, { ...told, device: 'e' }, read)).toEqual(rule)
    expect(broken(noted(0, { reportsLoss: true, outOfReach: ['v'] }), doubted, read)).toEqual(rule)
  })

  test('need not show it in a transaction that ran meanwhile', () => {
    const doubted = noted(1, { status: 'unknown', doubted: true, writes })
    const read = noted(3, { reads, path: 'transaction', outOfReach: ['v'] })
    const rule = ['doubt-settled']
    expect(broken(doubted, read)).toEqual([])
    expect(broken(doubted, { ...read, path: 'replica' })).toEqual(rule)
    expect(broken(doubted, { ...read, outOfReach: ['w'] })).toEqual(rule)
    expect(broken(doubted, noted(2, { path: 'transaction', outOfReach: ['v'] }), noted(3, { reads }))).toEqual(rule)
  })
})

describe('a transaction of a session that holds what was out of reach', () => {
  const [KEY, OTHER] = ['k@db-1.1', 'l@db-1.1']
  const truth = new Truth(
    [
      { type: 'version', key: KEY, value: 'v', prev: null },
      { type: 'version', key: OTHER, value: 'w', prev: null },
    ],
    [
      { type: 'final', key: KEY, value: 'v' },
      { type: 'final', key: OTHER, value: 'w' },
    ],
    new Map(),
  )
  const base = { session: 'd', user: 'u', device: 'd', status: 'ok', asked: 'read-your-writes' } as const
  const write: Noted = {
    ...base,
    id: 1,
    start: 10,
    end: 15,
    writes: [
      [KEY, 'v'],
      [OTHER, 'w'],
    ],
  }
  const read: Noted = { ...base, id: 2, start: 20, end: 25, path: 'transaction', reads: [[KEY, null]], outOfReach: ['v'] }
  const excused = (noted: Noted, rule: RuleName = 'read-your-writes') => {
    const records = [recordOf(noted, false), recordOf(write, false)]
    return isOfTransaction({ rule, message: '', records, counterexample: [] }, truth, [write, noted], true)
  }

  test('need not show that, and nothing else is excused', () => {
    expect(excused(read)).toBe(true)
    expect(excused(read, 'monotonic-reads')).toBe(true)
    expect(excused(read, 'writes-follow-reads')).toBe(false)
    const { outOfReach: _, ...within } = read
    expect(excused(within)).toBe(false)
    expect(excused({ ...read, path: 'replica' })).toBe(false)
    expect(excused({ ...read, outOfReach: ['w'] })).toBe(false)
    const both: Noted = {
      ...read,
      reads: [
        [KEY, null],
        [OTHER, null],
      ],
    }
    expect(excused(both)).toBe(false)
    expect(excused({ ...both, outOfReach: ['v', 'w'] })).toBe(true)
  })
})

/** What seeds 503, 1029, 5998, and 8904 once came to, by hand: db-1 leaves with a write that db-2 has not got. */
describe('a world that a peer leaves with its writes', () => {
  const USUAL = { newDevice: false, router: 0, parallel: false, requestMs: 1, responseMs: 1, fate: 'delivered' as const }
  const request = (at: number, action: 'read' | 'write' | 'transaction', more: Partial<RequestStep> = {}): Step => {
    const plan = { action, keys: ['k'], scoped: false, cache: false, asyncCommit: false, withNext: false }
    const actions = [{ ...plan, ladder: undefined, abortMs: undefined }]
    return { kind: 'request', at, device: 'u-d1', actions, forged: undefined, ...USUAL, ...more }
  }
  const fault = (at: number, fault: Fault): Step => ({ kind: 'fault', at, fault })
  const LAGS = fault(100, { name: 'pause-replay', target: 1, ms: 1_000 })
  const LEAVES = fault(300, { name: 'leave', target: 0, ms: 500 })
  // The answer to the write after it is stuck when its connection breaks, which is there already.
  const STUCK = fault(150, { name: 'cut', router: 0, target: 0, oneWay: true, ms: 140 })
  const LOSES = [STUCK, request(200, 'write'), fault(250, { name: 'reset', router: 0, target: 0 })]
  const play = async (...steps: readonly Step[]) => {
    const router = { region: 'eu', strategy: 'token-fence', writePolicy: undefined, lostWrites: 'reissue' } as const
    const clocks = { wallOffsetMs: 0, rate: 1, pollIntervalMs: 100, balanced: false, readsHistory: true }
    const schedule: Schedule = {
      seed: 1,
      world: {
        summary: 'by hand',
        topology: 'leaderless',
        nodes: ['db-1', 'db-2'].map(id => ({ id, region: 'eu' })),
        routers: [{ ...router, ...clocks }],
        devices: [{ id: 'u-d1', user: 'u', carrier: 'cookie', guarantee: 'read-your-writes' }],
        keys: ['k'],
        asyncCommit: false,
        store: undefined,
        positionLagMs: 0.4,
        quorums: false,
      },
      steps,
      endMs: 1_500,
    }
    const { records, violations } = await playSchedule(schedule)
    expect(violations).toEqual([])
    const operations = records.flatMap(record => (record.type === 'op' ? [record] : []))
    const written = operations.findLast(({ writes }) => writes !== undefined)
    const reads = operations.find(({ reads }) => reads !== undefined)?.reads
    return { operations, written, shown: reads?.find(([key]) => key === 'k@db-1.1') }
  }

  test('shows a new device nothing of it, which is no fault; and does while it is there', async () => {
    const [write, read] = [request(200, 'write'), request(400, 'read', { newDevice: true })]
    const { written, shown } = await play(LAGS, write, LEAVES, read)
    expect(written).toMatchObject({ status: 'ok', writes: [['k@db-1.1', 'k.1', null]] })
    expect(shown).toEqual(['k@db-1.1', null])
    expect((await play(LAGS, write, read)).shown).toEqual(['k@db-1.1', 'k.1'])
  })

  test('shows nothing of it to a device in doubt, which is no fault; and does while it is there', async () => {
    const first = request(50, 'write')
    const read = request(400, 'read')
    const { written, shown } = await play(first, LAGS, ...LOSES, LEAVES, read)
    expect(written).toMatchObject({ status: 'unknown', writes: [['k@db-1.1', 'k.2']] })
    expect(shown).toEqual(['k@db-1.1', 'k.1'])
    expect((await play(first, LAGS, ...LOSES, read)).shown).toEqual(['k@db-1.1', 'k.2'])
  })

  test('shows a transaction nothing of it, which is no fault; and the read after it, when it is there again', async () => {
    const [write, transaction, read] = [request(200, 'write'), request(400, 'transaction'), request(900, 'read')]
    const { operations, shown } = await play(LAGS, write, LEAVES, transaction, read)
    expect(shown).toEqual(['k@db-1.1', null])
    expect(operations[1]).toMatchObject({ status: 'ok', path: 'transaction' })
    expect(operations[2]?.reads).toContainEqual(['k@db-1.1', 'k.1'])
    expect(operations[2]?.reportsLoss).toBeUndefined()
    expect((await play(LAGS, write, transaction, read)).shown).toEqual(['k@db-1.1', 'k.1'])
  })

  test('shows nothing of it to a device in doubt that was told, which is no fault', async () => {
    const leaves = fault(350, { name: 'leave', target: 0, ms: 500 })
    const reads = [request(310, 'read'), leaves, request(400, 'read'), request(450, 'read')]
    const { operations } = await play(request(50, 'write'), LAGS, ...LOSES, ...reads)
    expect(operations[1]).toMatchObject({ status: 'unknown', writes: [['k@db-1.1', 'k.2']] })
    expect(operations[2]?.reads).toContainEqual(['k@db-1.1', 'k.2'])
    expect(operations[3]).toMatchObject({ achieved: 'eventual', reportsLoss: true })
    expect(operations[4]).toMatchObject({ achieved: 'read-your-writes' })
    expect(operations[4]?.reads).toContainEqual(['k@db-1.1', 'k.1'])
  })
})
