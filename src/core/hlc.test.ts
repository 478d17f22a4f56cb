import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Clock } from './clock.js'
import { ConfigurationError } from './errors.js'
import { ClockDriftError, CounterOverflowError, HybridLogicalClock, packStamp, unpackStamp } from './hlc.js'
import { MAX_OFFSET, Position } from './position.js'
import { VirtualClock } from './virtual-clock.js'

const START = 1_700_000_000_000
const MAX_DRIFT = 500

/** A host: a wall clock that the test sets, a store that outlives the process, and every stamp it ever gave out. */
class Host {
  wallMs = START
  stored: bigint | undefined
  readonly given: bigint[] = []
  #hlc!: HybridLogicalClock

  constructor() {
    this.restart()
  }
  restart(): void {
    const clock: Clock = Object.assign(new VirtualClock(), { wallNow: () => this.wallMs })
    this.#hlc = new HybridLogicalClock({
      clock,
      bound: this.stored,
      persist: bound => {
        this.stored = bound
      },
    })
  }
  now(): bigint {
    return this.#given(this.#hlc.now())
  }
  receive(stamp: bigint): bigint {
    return this.#given(this.#hlc.receive(stamp))
  }
  get last(): bigint {
    return this.#hlc.last
  }
  #given(stamp: bigint): bigint {
    this.given.push(stamp)
    return stamp
  }
}

const ms = (stamp: bigint) => unpackStamp(stamp).ms

describe('a stamp', () => {
  test('is packed without loss, and ordered as (l, c) is', () => {
    const part = fc.record({ ms: fc.integer({ min: 0, max: 2 ** 48 - 2 }), counter: fc.integer({ min: 0, max: 0xffff }) })
    const close = fc.record({ ms: fc.integer({ min: 0, max: 3 }), counter: fc.constantFrom(0, 1, 0xffff) })
    fc.assert(
      fc.property(fc.oneof(fc.tuple(part, part), fc.tuple(close, close)), ([a, b]) => {
        expect(unpackStamp(packStamp(a.ms, a.counter))).toEqual(a)
        const lexical = Math.sign(a.ms - b.ms) || Math.sign(a.counter - b.counter)
        const [packedA, packedB] = [packStamp(a.ms, a.counter), packStamp(b.ms, b.counter)]
        expect(packedA < packedB ? -1 : packedA > packedB ? 1 : 0).toBe(lexical)
      }),
      { numRuns: 1_000 },
    )
  })

  test('fits an offset, below the one that is beyond every position', () => {
    const greatest = packStamp(2 ** 48 - 2, 0xffff)
    expect(Position.at('cluster/eu/1', greatest).offsetIn('cluster/eu/1')).toBe(greatest)
    expect(greatest).toBeLessThan(MAX_OFFSET)
    for (const [l, c] of [
      [2 ** 48 - 1, 0],
      [-1, 0],
      [1.5, 0],
      [0, 0x1_0000],
      [0, -1],
    ] as const) {
      expect(() => packStamp(l, c), `${l}, ${c}`).toThrow(RangeError)
    }
  })
})

describe('the algorithm', () => {
  // Fig. 5 of the paper, each branch.
  test('a local event: the wall clock, or one more', () => {
    const host = new Host()
    expect(host.now()).toBe(packStamp(START, 0))
    expect(host.now()).toBe(packStamp(START, 1))
    host.wallMs = START + 5
    expect(host.now()).toBe(packStamp(START + 5, 0))
  })

  test('receiving: one more than whichever is furthest, or the wall clock', () => {
    const host = new Host()
    host.now()
    expect(host.receive(packStamp(START - 9, 7))).toBe(packStamp(START, 1))
    expect(host.receive(packStamp(START, 7))).toBe(packStamp(START, 8))
    expect(host.receive(packStamp(START, 2))).toBe(packStamp(START, 9))
    expect(host.receive(packStamp(START + 3, 4))).toBe(packStamp(START + 3, 5))
    host.wallMs = START + 4
    expect(host.receive(packStamp(START + 3, 9))).toBe(packStamp(START + 4, 0))
  })
})

/** What hosts do: events, messages (sent now, received later, twice or never), clocks that run and jump, restarts. */
const HOSTS = 3
const host = fc.nat(HOSTS - 1)
const action = (jumps: boolean) =>
  fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('event' as const), host }) },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('receive' as const), host, message: fc.nat(30) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.nat(20) }) },
    ...(jumps
      ? [
          {
            weight: 1,
            arbitrary: fc.record({ kind: fc.constant('jump' as const), host, ms: fc.integer({ min: -400, max: 400 }) }),
          },
          { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const), host }) },
        ]
      : []),
  )
type Action = typeof action extends (jumps: boolean) => fc.Arbitrary<infer A> ? A : never

/** An event of a run, with all that happened before it. */
interface Happened {
  readonly host: number
  readonly stamp: bigint
  readonly wallMs: number
  readonly past: ReadonlySet<Happened>
}

function run(actions: readonly Action[], offsets: readonly number[] = [0, 0, 0]) {
  const hosts = offsets.map(offset => Object.assign(new Host(), { wallMs: START + offset }))
  const latest: (Happened | undefined)[] = offsets.map(() => undefined)
  const events: Happened[] = []
  let refused = 0
  const happen = (at: number, work: (host: Host) => bigint, cause?: Happened) => {
    try {
      const before = [latest[at], cause].filter(each => each !== undefined)
      const past = new Set(before.flatMap(each => [each, ...each.past]))
      const event = { host: at, stamp: work(hosts[at]!), wallMs: hosts[at]!.wallMs, past }
      events.push(event)
      latest[at] = event
    } catch (error) {
      if (!(error instanceof ClockDriftError)) throw error
      refused++
    }
  }
  for (const each of actions) {
    if (each.kind === 'event') happen(each.host, host => host.now())
    else if (each.kind === 'receive') {
      const message = events.at(-1 - each.message)
      if (message !== undefined) happen(each.host, host => host.receive(message.stamp), message)
    } else if (each.kind === 'pass') for (const host of hosts) host.wallMs += each.ms
    else if (each.kind === 'jump') hosts[each.host]!.wallMs += each.ms
    else hosts[each.host]!.restart()
  }
  return { hosts, events, refused }
}

describe('the theorems', () => {
  test('1: what happened before has the smaller stamp, whatever clocks and processes do', () => {
    let pairs = 0
    let refusals = 0
    fc.assert(
      fc.property(fc.array(action(true), { minLength: 40, maxLength: 80 }), actions => {
        const { events, refused } = run(actions)
        refusals += refused
        for (const event of events) {
          for (const earlier of event.past) {
            pairs++
            expect(earlier.stamp).toBeLessThan(event.stamp)
          }
        }
      }),
      { numRuns: 300 },
    )
    expect(pairs).toBeGreaterThan(10_000)
    expect(refusals).toBeGreaterThan(10)
  })

  test('no host gives a stamp twice, or one that goes back', () => {
    fc.assert(
      fc.property(fc.array(action(true), { minLength: 40, maxLength: 80 }), actions => {
        for (const { given } of run(actions).hosts) {
          for (const [i, stamp] of given.entries()) if (i > 0) expect(stamp).toBeGreaterThan(given[i - 1]!)
        }
      }),
      { numRuns: 300 },
    )
  })

  test('2 and its corollary: l is at the wall clock at least, and ahead of it by no more than clocks differ', () => {
    let ahead = 0
    const offset = fc.integer({ min: 0, max: 100 })
    fc.assert(
      fc.property(
        fc.array(action(false), { minLength: 40, maxLength: 80 }),
        fc.tuple(offset, offset, offset),
        (actions, offsets) => {
          const apart = Math.max(...offsets) - Math.min(...offsets)
          for (const { stamp, wallMs } of run(actions, offsets).events) {
            expect(ms(stamp)).toBeGreaterThanOrEqual(wallMs)
            expect(ms(stamp) - wallMs).toBeLessThanOrEqual(apart)
            if (ms(stamp) > wallMs) ahead++
          }
        },
      ),
      { numRuns: 300 },
    )
    expect(ahead).toBeGreaterThan(500)
  })

  test('whoever sends what, l runs ahead of the wall clock by no more than the drift that is allowed', () => {
    const stamps = fc.array(fc.tuple(fc.integer({ min: -1_000, max: 2_000 }), fc.nat(0xfff0)), { maxLength: 40 })
    fc.assert(
      fc.property(stamps, received => {
        const host = new Host()
        for (const [aheadMs, counter] of received) {
          const before = host.last
          const stamp = packStamp(START + aheadMs, counter)
          if (aheadMs <= MAX_DRIFT) host.receive(stamp)
          else {
            expect(() => host.receive(stamp)).toThrow(ClockDriftError)
            expect(host.last).toBe(before)
          }
          expect(ms(host.last) - host.wallMs).toBeLessThanOrEqual(MAX_DRIFT)
        }
      }),
    )
  })
})

describe('a wrong clock', () => {
  test('a stamp too far ahead is refused, with the numbers, and changes nothing', () => {
    const host = new Host()
    host.now()
    const stamp = packStamp(START + MAX_DRIFT + 1, 0)
    expect(() => host.receive(stamp)).toThrow(
      expect.objectContaining({ code: 'TIDEMARK_CLOCK_DRIFT', stamp, aheadMs: MAX_DRIFT + 1, maxDriftMs: MAX_DRIFT }),
    )
    expect(host.stored).toBeLessThan(stamp)
    expect(host.now()).toBe(packStamp(START, 1))
    // Control: just within.
    expect(host.receive(packStamp(START + MAX_DRIFT, 0))).toBe(packStamp(START + MAX_DRIFT, 1))
  })

  test('one that is set back stops the time, not the stamps', () => {
    const host = new Host()
    const first = host.now()
    host.wallMs -= 3_600_000
    expect(host.now()).toBe(first + 1n)
    host.wallMs = START + 1
    expect(host.now()).toBe(packStamp(START + 1, 0))
  })

  test('the counter does not run over into the time; when the clock moves on, stamps do', () => {
    const host = new Host()
    for (let i = 0; i <= 0xffff; i++) host.now()
    const last = host.last
    expect(last).toBe(packStamp(START, 0xffff))
    expect(() => host.now()).toThrow(expect.objectContaining({ code: 'TIDEMARK_HLC_OVERFLOW', untilMs: START }))
    expect(() => host.receive(packStamp(START, 3))).toThrow(CounterOverflowError)
    expect(() => host.receive(packStamp(START + 1, 0xffff))).toThrow(CounterOverflowError)
    expect(host.last).toBe(last)
    host.wallMs++
    expect(host.now()).toBe(packStamp(START + 1, 0))
  })
})

describe('restarts', () => {
  test('the bound is stored before a stamp beyond it is out, and not at every event', () => {
    const clock = new VirtualClock()
    const stored: bigint[] = []
    const hlc = new HybridLogicalClock({ clock, persist: bound => stored.push(bound) })
    for (let i = 0; i < 1_000; i++) {
      clock.wallOffsetMs++
      const stamp = hlc.now()
      expect(stored.at(-1)).toBeGreaterThanOrEqual(stamp)
    }
    expect(stored).toHaveLength(4)
  })

  test('a bound that cannot be stored fails the event, and no stamp is out', () => {
    let fails = true
    const hlc = new HybridLogicalClock({
      clock: new VirtualClock(),
      persist: () => {
        if (fails) throw new Error('disk full')
      },
    })
    expect(() => hlc.now()).toThrow('disk full')
    expect(() => hlc.receive(packStamp(START, 3))).toThrow('disk full')
    expect(hlc.last).toBe(0n)
    fails = false
    expect(hlc.now()).toBe(packStamp(START, 0))
  })

  test('a life begins above all stamps of the one before, also when the clock was set back; and above what that one received', () => {
    const host = new Host()
    host.receive(packStamp(START + 400, 9))
    const last = host.now()
    host.wallMs -= 3_600_000
    host.restart()
    expect(host.now()).toBeGreaterThan(last)
    // Control: without what was stored it does give stamps a second time.
    host.stored = undefined
    host.restart()
    expect(host.now()).toBeLessThan(last)
  })

  test('one that begins at once is not so far ahead that others refuse its stamps', () => {
    const [host, other] = [new Host(), new Host()]
    host.now()
    host.restart()
    expect(other.receive(host.now())).toBeGreaterThan(host.last)
  })
})

test('options that cannot work', () => {
  const create = (options: object) => () => new HybridLogicalClock({ clock: new VirtualClock(), persist: () => {}, ...options })
  for (const maxDriftMs of [0, 1, -1, Number.NaN]) expect(create({ maxDriftMs })).toThrow(ConfigurationError)
  expect(create({ reserveMs: 500 })).toThrow('reserveMs must be less')
  expect(create({ reserveMs: 0 })).toThrow(ConfigurationError)
  for (const bound of [-1n, MAX_OFFSET]) expect(create({ bound })).toThrow('is not one of a stamp')
  const hlc = create({})()
  for (const stamp of [-1n, 2n ** 64n]) expect(() => hlc.receive(stamp)).toThrow(RangeError)
  expect(() => hlc.receive(MAX_OFFSET)).toThrow(ClockDriftError)
})
