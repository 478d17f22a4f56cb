import fc from 'fast-check'
import { expect, test } from 'vitest'
import { BUCKETS_MS, between, Histogram, quantile } from './histogram.js'

test('a quantile lies in the bucket of the exact one', () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0, max: 4_999, noNaN: true }), { minLength: 1 }),
      fc.constantFrom(0.5, 0.9, 0.99),
      (all, q) => {
        const histogram = new Histogram()
        for (const each of all) histogram.record(each)
        const exact = [...all].sort((a, b) => a - b)[Math.ceil(q * all.length) - 1]!
        const bucket = BUCKETS_MS.findIndex(bound => exact <= bound)
        const found = quantile(histogram.snapshot(), q)!
        expect(found).toBeLessThanOrEqual(BUCKETS_MS[bucket]!)
        expect(found).toBeGreaterThanOrEqual(bucket === 0 ? 0 : BUCKETS_MS[bucket - 1]!)
      },
    ),
  )
})

test('what does not wait adds nothing, what is beyond the last bound is counted', () => {
  const histogram = new Histogram()
  expect(quantile(histogram.snapshot(), 0.5)).toBeUndefined()
  histogram.record(0)
  expect(quantile(histogram.snapshot(), 0.99)).toBe(0)
  histogram.record(60_000)
  expect(histogram.snapshot()).toMatchObject({ count: 2, sumMs: 60_000 })
  expect(quantile(histogram.snapshot(), 0.99)).toBe(5_000)
})

test('between two snapshots', () => {
  const histogram = new Histogram()
  histogram.record(3)
  const before = histogram.snapshot()
  histogram.record(30)
  expect(between(before, histogram.snapshot())).toMatchObject({ count: 1, sumMs: 30 })
})
