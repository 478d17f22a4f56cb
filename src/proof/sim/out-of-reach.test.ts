/** A peer that is taken out before others have its log takes its writes along: what is then not held against the code, and what is. */
import { describe, expect, test } from 'vitest'
import { SimulatedLeaderlessCluster } from '../../engines/simulated/leaderless-cluster.js'
import { Simulation } from '../../engines/simulated/simulation.js'
import { outOfReach } from './out-of-reach.js'
import { judgeOperations, Violations } from './own-rules.js'
import { playSchedule } from './play-schedule.js'
import type { Noted } from './recorder.js'
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
    expect(broken(write, { ...read, settledWithout: ['v'] })).toEqual([])
    expect(broken(write, read)).toEqual(rule)
    expect(broken(write, { ...read, settledWithout: ['w'] })).toEqual(rule)
    expect(broken(write, noted(2, { settledWithout: ['v'] }), read)).toEqual(rule)
  })

  test('need not show it to the device in doubt, if one of its operations since settled it', () => {
    const doubted = noted(1, { status: 'unknown', doubted: true, writes })
    const read = noted(3, { reads })
    const rule = ['doubt-settled']
    const settling = noted(2, { settledWithout: ['v'] })
    expect(broken(doubted, { ...read, settledWithout: ['v'] })).toEqual([])
    expect(broken(doubted, settling, read)).toEqual([])
    expect(broken(doubted, read)).toEqual(rule)
    expect(broken(doubted, { ...settling, settledWithout: ['w'] }, read)).toEqual(rule)
    expect(broken(doubted, { ...settling, device: 'e' }, read)).toEqual(rule)
    // Before the doubt, or later than the read, or never heard of by the device.
    expect(broken(noted(0, { settledWithout: ['v'] }), doubted, read)).toEqual(rule)
    expect(broken(doubted, read, noted(4, { settledWithout: ['v'] }))).toEqual(rule)
    const { end: _, ...unheard } = settling
    expect(broken(doubted, unheard, read)).toEqual(rule)
  })
})

/** What seeds 503 and 5998 once came to, by hand: db-1 leaves with a write that db-2 has not got. */
describe('a world that a peer leaves with its writes', () => {
  const USUAL = { newDevice: false, router: 0, parallel: false, requestMs: 1, responseMs: 1, fate: 'delivered' as const }
  const request = (at: number, action: 'read' | 'write', more: Partial<RequestStep> = {}): Step => {
    const plan = { action, keys: ['k'], scoped: false, cache: false, asyncCommit: false, withNext: false }
    const actions = [{ ...plan, ladder: undefined, abortMs: undefined }]
    return { kind: 'request', at, device: 'u-d1', actions, forged: undefined, ...USUAL, ...more }
  }
  const fault = (at: number, fault: Fault): Step => ({ kind: 'fault', at, fault })
  const LAGS = fault(100, { name: 'pause-replay', target: 1, ms: 1_000 })
  const LEAVES = fault(300, { name: 'leave', target: 0, ms: 500 })
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
    return { written, shown: reads?.find(([key]) => key === 'k@db-1.1') }
  }

  test('shows a new device nothing of it, which is no fault; and does while it is there', async () => {
    const [write, read] = [request(200, 'write'), request(400, 'read', { newDevice: true })]
    const { written, shown } = await play(LAGS, write, LEAVES, read)
    expect(written).toMatchObject({ status: 'ok', writes: [['k@db-1.1', 'k.1', null]] })
    expect(shown).toEqual(['k@db-1.1', null])
    expect((await play(LAGS, write, read)).shown).toEqual(['k@db-1.1', 'k.1'])
  })

  test('shows nothing of it to a device in doubt, which is no fault; and does while it is there', async () => {
    // Over the connection that is there already; and the answer is stuck when that breaks.
    const first = request(50, 'write')
    const STUCK = fault(150, { name: 'cut', router: 0, target: 0, oneWay: true, ms: 140 })
    const BREAKS = fault(250, { name: 'reset', router: 0, target: 0 })
    const LOSES = [STUCK, request(200, 'write'), BREAKS]
    const read = request(400, 'read')
    const { written, shown } = await play(first, LAGS, ...LOSES, LEAVES, read)
    expect(written).toMatchObject({ status: 'unknown', writes: [['k@db-1.1', 'k.2']] })
    expect(shown).toEqual(['k@db-1.1', 'k.1'])
    expect((await play(first, LAGS, ...LOSES, read)).shown).toEqual(['k@db-1.1', 'k.2'])
  })
})
