import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { PrimaryLog } from './primary-log.js'

/** A primary whose log grows at random times, and questions to it that overtake each other. */
const run = fc.record({
  writes: fc.array(fc.record({ afterMs: fc.double({ min: 0.01, max: 20, noNaN: true }), bytes: fc.bigInt(1n, 50n) }), {
    minLength: 1,
    maxLength: 200,
  }),
  questions: fc.array(
    fc.record({
      afterMs: fc.double({ min: 0, max: 10, noNaN: true }),
      toServerMs: fc.double({ min: 0, max: 15, noNaN: true }),
      toRouterMs: fc.double({ min: 0, max: 15, noNaN: true }),
    }),
    { minLength: 1, maxLength: 1_500 },
  ),
})

interface Truth {
  readonly log: PrimaryLog
  readonly end: number
  readonly endOffset: bigint
  offsetAt(time: number): bigint
}

function play({ writes, questions }: typeof run extends fc.Arbitrary<infer T> ? T : never): Truth {
  const steps: { at: number; offset: bigint }[] = [{ at: 0, offset: 0n }]
  for (const { afterMs, bytes } of writes) {
    const last = steps.at(-1)!
    steps.push({ at: last.at + afterMs, offset: last.offset + bytes })
  }
  const offsetAt = (time: number) => steps.findLast(step => step.at <= time)!.offset
  let sentAt = 0
  const answers = questions.map(({ afterMs, toServerMs, toRouterMs }) => {
    sentAt += afterMs
    return { sentAt, offset: offsetAt(sentAt + toServerMs), answeredAt: sentAt + toServerMs + toRouterMs }
  })
  const log = new PrimaryLog()
  answers.sort((a, b) => a.answeredAt - b.answeredAt)
  for (const answer of answers) log.record(answer.sentAt, answer.offset)
  return { log, end: answers.at(-1)!.answeredAt, endOffset: steps.at(-1)!.offset, offsetAt }
}

test('at the time it names, the primary had not passed the offset: an age counted from it is never too small', () => {
  let answered = 0
  fc.assert(
    fc.property(
      run,
      fc.array(fc.double({ min: 0, max: 1.1, noNaN: true }), { minLength: 20, maxLength: 20 }),
      (played, shares) => {
        const { log, end, endOffset, offsetAt } = play(played)
        for (const share of shares) {
          const applied = BigInt(Math.floor(Number(endOffset) * share))
          const at = log.lastTimeAtOrBefore(applied)
          if (at === undefined) continue
          answered++
          expect(at).toBeLessThanOrEqual(end)
          expect(offsetAt(at) <= applied).toBe(true)
        }
      },
    ),
    { numRuns: 300 },
  )
  expect(answered).toBeGreaterThan(1_000)
})

test('what it says the primary has passed, the primary has passed', () => {
  fc.assert(
    fc.property(run, fc.double({ min: 0, max: 1.1, noNaN: true }), (played, share) => {
      const { log, end, endOffset, offsetAt } = play(played)
      const applied = BigInt(Math.floor(Number(endOffset) * share))
      const at = log.firstTimeAfter(applied)
      if (at !== undefined) expect(offsetAt(end) > applied).toBe(true)
      if (log.newest !== undefined) expect(log.newest <= offsetAt(end)).toBe(true)
    }),
  )
})

describe('step by step', () => {
  test('nothing is known at first, nor again after clear', () => {
    const log = new PrimaryLog()
    const empty = () => [log.lastTimeAtOrBefore(5n), log.firstTimeAfter(5n), log.newest]
    expect(empty()).toEqual([undefined, undefined, undefined])
    log.record(1, 5n)
    expect(empty()).toEqual([1, undefined, 5n])
    log.clear()
    expect(empty()).toEqual([undefined, undefined, undefined])
  })

  test('an idle primary is where it was as of the newest answer, and the first one is remembered', () => {
    const log = new PrimaryLog()
    log.record(0, 1n)
    for (const at of [10, 20, 30]) log.record(at, 5n)
    expect(log.lastTimeAtOrBefore(5n)).toBe(30)
    expect(log.firstTimeAfter(4n)).toBe(10)
    expect(log.lastTimeAtOrBefore(4n)).toBe(0)
    expect(log.lastTimeAtOrBefore(0n)).toBeUndefined()
  })

  test('late answers and smaller offsets change nothing', () => {
    const log = new PrimaryLog()
    log.record(10, 100n)
    log.record(5, 200n)
    log.record(5, 100n)
    log.record(20, 50n)
    expect(log.newest).toBe(100n)
    expect(log.lastTimeAtOrBefore(100n)).toBe(10)
    expect(log.lastTimeAtOrBefore(99n)).toBeUndefined()
  })
})

describe('size', () => {
  /** Every time that is remembered can be got out, by asking for every offset that went in. */
  const remembered = (log: PrimaryLog, offsets: number) =>
    new Set(Array.from({ length: offsets }, (_, i) => log.lastTimeAtOrBefore(BigInt(i))).filter(at => at !== undefined)).size

  test('is bounded, the newest history is exact, and old history only gets coarser', () => {
    const log = new PrimaryLog()
    const count = 20_000
    for (let i = 0; i < count; i++) log.record(i * 10, BigInt(i))
    expect(remembered(log, count)).toBeLessThanOrEqual(513)
    expect(remembered(log, count)).toBeGreaterThan(200)
    for (let i = count - 200; i < count; i++) expect(log.lastTimeAtOrBefore(BigInt(i))).toBe(i * 10)
    for (let i = 0; i < count; i++) expect(log.lastTimeAtOrBefore(BigInt(i))!).toBeLessThanOrEqual(i * 10)
    // The oldest pair survives thinning, so that no window ends in "not known".
    expect(log.lastTimeAtOrBefore(0n)).toBe(0)
  })

  test('is bounded when the primary moves at every other answer', () => {
    const log = new PrimaryLog()
    for (let i = 0; i < 20_000; i++) log.record(i * 10, BigInt(i >> 1))
    expect(remembered(log, 10_000)).toBeLessThanOrEqual(513)
    expect(log.lastTimeAtOrBefore(9_999n)).toBe(199_990)
  })

  test('a flood within two milliseconds is thinned as it arrives', () => {
    const log = new PrimaryLog()
    for (let i = 0; i < 1_000; i++) log.record(i / 1_000, BigInt(i))
    expect(remembered(log, 1_000)).toBe(1)
    expect(log.lastTimeAtOrBefore(999n)).toBe(0)
  })
})
