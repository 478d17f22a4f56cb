import { describe, expect, test } from 'vitest'
import { judgeOperations, Violations } from './own-rules.js'
import { playSchedule } from './play-schedule.js'
import type { Noted } from './recorder.js'
import type { Fault, RequestStep, Schedule, Step } from './schedule.js'
import { Truth } from './truth.js'

describe('a device in doubt that reads where an older history is written', () => {
  // Both doubt and other replace k.1; the history of the doubt is kept.
  const truth = new Truth(
    [
      { type: 'version', key: 'k', value: 'k.1', prev: null },
      { type: 'version', key: 'k', value: 'doubt', prev: 'k.1' },
      { type: 'version', key: 'k', value: 'other', prev: 'k.1' },
      { type: 'version', key: 'l', value: 'kept', prev: null },
    ],
    [
      { type: 'final', key: 'k', value: 'doubt' },
      { type: 'final', key: 'l', value: 'kept' },
    ],
    new Map([['k doubt', 15]]),
  )
  const noted = (id: number, more: Partial<Noted>): Noted => {
    const start = id * 10
    return { id, session: 'd', user: 'u', device: 'd', start, end: start + 5, status: 'ok', asked: 'read-your-writes', ...more }
  }
  const doubted = noted(1, { status: 'unknown', doubted: true, writes: [['k', 'doubt']] })
  const read = noted(3, { reads: [['k', 'k.1']] })
  const broken = (operations: readonly Noted[], rivals = true) => {
    const violations = new Violations()
    judgeOperations(operations, truth, { quorums: false, rivals }, violations)
    return violations.all.map(({ rule }) => rule)
  }
  const rule = ['doubt-settled']

  test('need not be shown it by a transaction whose own write was cut off there', () => {
    const transaction: Noted = { ...read, path: 'transaction', writes: [['k', 'other', 'k.1']] }
    expect(broken([doubted, transaction])).toEqual([])
    expect(broken([doubted, transaction], false)).toEqual(rule)
    expect(broken([doubted, { ...transaction, writes: [['l', 'kept', null]] }])).toEqual(rule)
    expect(broken([doubted, { ...transaction, path: 'primary' }])).toEqual(rule)
  })

  test('need not be shown it once it was told that it may be lost', () => {
    const told = noted(2, { reportsLoss: true })
    expect(broken([doubted, told, read])).toEqual([])
    expect(broken([doubted, read])).toEqual(rule)
    expect(broken([doubted, told, read], false)).toEqual(rule)
    expect(broken([doubted, { ...told, device: 'e' }, read])).toEqual(rule)
    // Before the doubt, or later than the read, or never heard of by the device.
    expect(broken([noted(0, { reportsLoss: true }), doubted, read])).toEqual(rule)
    expect(broken([doubted, read, noted(4, { reportsLoss: true })])).toEqual(rule)
    const { end: _, ...unheard } = told
    expect(broken([doubted, unheard, read])).toEqual(rule)
  })
})

/** What seed 50246 once came to, by hand: the answer of the new primary is lost, and the other router knows the old one only. */
describe('a world with two primaries', () => {
  const USUAL = { newDevice: false, parallel: false, requestMs: 1, responseMs: 1, forged: undefined } as const
  type ActionName = 'read' | 'write' | 'transaction'
  const request = (at: number, device: string, router: number, action: ActionName, key = 'k'): RequestStep => {
    const plan = { action, keys: [key], scoped: false, cache: false, asyncCommit: false, withNext: false }
    const actions = [{ ...plan, ladder: undefined, abortMs: undefined }]
    return { kind: 'request', at, device, router, actions, fate: 'delivered', ...USUAL }
  }
  const fault = (at: number, fault: Fault): Step => ({ kind: 'fault', at, fault })
  const play = async (...steps: readonly Step[]) => {
    const router = { region: undefined, strategy: 'token-fence', writePolicy: undefined, lostWrites: 'reissue' } as const
    const plan = { ...router, wallOffsetMs: 0, rate: 1, pollIntervalMs: 100, balanced: false, readsHistory: true }
    const device = { carrier: 'cookie', guarantee: 'read-your-writes' } as const
    const schedule: Schedule = {
      seed: 1,
      world: {
        summary: 'by hand',
        topology: 'physical',
        nodes: ['db-1', 'db-2'].map(id => ({ id, region: 'eu' })),
        routers: [plan, plan],
        devices: ['u', 'v'].map(user => ({ id: `${user}-d1`, user, ...device })),
        keys: ['k', 'l'],
        asyncCommit: false,
        store: undefined,
        positionLagMs: 0.4,
        quorums: false,
      },
      steps: [
        request(50, 'u-d1', 0, 'write'),
        fault(300, { name: 'split', promote: 0, cutRouters: [1], loyal: [], ms: 4_000 }),
        // Over this connection the next one goes; and its answer is stuck when that breaks.
        request(600, 'v-d1', 0, 'write', 'l'),
        fault(800, { name: 'cut', router: 0, target: 'primary', oneWay: true, ms: 140 }),
        request(850, 'u-d1', 0, 'write'),
        fault(900, { name: 'reset', router: 0, target: 'primary' }),
        ...steps,
      ],
      endMs: 5_000,
    }
    const { records, violations } = await playSchedule(schedule)
    expect(violations).toEqual([])
    const operations = records.flatMap(record => (record.type === 'op' && record.session === 'u-d1' ? [record] : []))
    expect(operations[1]).toMatchObject({ status: 'unknown', writes: [['k', 'k.3']] })
    expect(records).toContainEqual({ type: 'final', key: 'k', value: 'k.3' })
    return operations.slice(2, 2 + steps.length)
  }

  test('tells a read that asks for the new one in vain, once, and shows what the old one has', async () => {
    const [told, next] = await play(request(950, 'u-d1', 1, 'read'), request(1_000, 'u-d1', 1, 'read'))
    expect(told).toMatchObject({ reads: [['k', 'k.1']], achieved: 'eventual', reportsLoss: true })
    expect(next).toMatchObject({ reads: [['k', 'k.1']], achieved: 'read-your-writes' })
  })

  test('shows a transaction what the old one has, and tells the read after it', async () => {
    const [transaction, told] = await play(request(950, 'u-d1', 1, 'transaction'), request(1_000, 'u-d1', 1, 'read'))
    expect(transaction).toMatchObject({ status: 'ok', reads: [['k', 'k.1']], path: 'transaction' })
    expect(told).toMatchObject({ achieved: 'eventual', reportsLoss: true })
  })

  test('shows a read that can ask the new one what became of the doubt', async () => {
    const [read] = await play(request(4_500, 'u-d1', 1, 'read'))
    expect(read).toMatchObject({ reads: [['k', 'k.3']], achieved: 'read-your-writes' })
    expect(read?.reportsLoss).toBeUndefined()
  })
})
