import fc from 'fast-check'
import { expect, test } from 'vitest'
import { SlidingCounts } from './sliding-counts.js'

test('a window counts what happened in it, to the width of a bucket', () => {
  const events = fc.array(fc.record({ afterMs: fc.nat(5_000), bad: fc.boolean() }), { maxLength: 60 })
  fc.assert(
    fc.property(events, fc.integer({ min: 100, max: 10_000 }), (steps, windowMs) => {
      const counts = new SlidingCounts(100, 10_000)
      const seen: { at: number; bad: boolean }[] = []
      let now = 12_345
      for (const { afterMs, bad } of steps) {
        now += afterMs
        counts.add(now, bad ? 1 : 0)
        seen.push({ at: now, bad })
      }
      const within = (ms: number) => seen.filter(({ at }) => at > now - ms)
      const { bad, total } = counts.over(windowMs, now)
      expect(total).toBeGreaterThanOrEqual(within(windowMs).length)
      expect(total).toBeLessThanOrEqual(within(windowMs + 200).length)
      expect(bad).toBeGreaterThanOrEqual(within(windowMs).filter(each => each.bad).length)
      expect(bad).toBeLessThanOrEqual(total)
    }),
  )
})

test('what is older than the span is forgotten, however long nothing happened', () => {
  const counts = new SlidingCounts(100, 1_000)
  counts.add(50, 1)
  expect(counts.over(1_000, 50)).toEqual({ bad: 1, total: 1 })
  expect(counts.over(1_000, 1_000_000)).toEqual({ bad: 0, total: 0 })
  counts.add(1_000_000, 0)
  expect(counts.over(1_000, 1_000_000)).toEqual({ bad: 0, total: 1 })
})
