import { describe, expect, test } from 'vitest'
import { BurnRate } from './burn-rate.js'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

/** One event every ten seconds. */
function feed(rate: BurnRate, fromMs: number, forMs: number, badShare: number): number {
  let owed = 0
  for (let at = fromMs; at < fromMs + forMs; at += 10_000) {
    owed += badShare
    rate.add(at, owed >= 1)
    if (owed >= 1) owed--
  }
  return fromMs + forMs
}

describe('a burn rate', () => {
  test('within the budget says nothing', () => {
    const rate = new BurnRate(0.1, 10)
    const now = feed(rate, 0, 10 * HOUR, 0.09)
    expect(rate.look(now)).toBeUndefined()
    expect(rate.over(HOUR, now)).toBeCloseTo(0.9, 1)
    expect(rate.left(now)).toBeCloseTo(0.1, 1)
  })

  test('fourteen times the budget for an hour is a page; and one that is over resolves, though the hour is not', () => {
    const rate = new BurnRate(0.01, 10)
    let now = feed(rate, 0, HOUR, 0.2)
    expect(rate.look(now)).toMatchObject({ severity: 'page', longMs: HOUR, shortMs: 5 * MINUTE })
    now = feed(rate, now, 10 * MINUTE, 0)
    rate.look(now)
    now = feed(rate, now, 25 * MINUTE, 0)
    // The long window of that page still burns; of the less urgent one both do not.
    expect(rate.over(HOUR, now)).toBeGreaterThan(6)
    expect(rate.look(now)?.longMs).not.toBe(HOUR)
  })

  test('a little over the budget for days is a ticket, not a page', () => {
    const rate = new BurnRate(0.1, 10)
    const now = feed(rate, 0, 73 * HOUR, 0.15)
    expect(rate.look(now)).toMatchObject({ severity: 'ticket', longMs: 72 * HOUR })
  })

  test('too few events say nothing', () => {
    const rate = new BurnRate(0.01, 1_000)
    const now = feed(rate, 0, HOUR, 1)
    expect(rate.over(HOUR, now)).toBeCloseTo(100)
    expect(rate.look(now)).toBeUndefined()
  })

  test('one that hovers at its threshold fires once', () => {
    const rate = new BurnRate(0.01, 10)
    let now = feed(rate, 0, HOUR, 0.2)
    let changes = 0
    let firing = false
    for (let turn = 0; turn < 20; turn++) {
      now = feed(rate, now, 3 * MINUTE, turn % 2 === 0 ? 0.11 : 0.19)
      const fires = rate.look(now) !== undefined
      if (fires !== firing) changes++
      firing = fires
    }
    expect(changes).toBe(1)
  })
})
