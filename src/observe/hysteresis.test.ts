import { expect, test } from 'vitest'
import { Hysteresis } from './hysteresis.js'

test('raises only after the threshold was passed for long enough, and clears only well under it', () => {
  const state = new Hysteresis(1_000, { holdMs: 100, release: 0.8 })
  expect(state.update(2_000, 0)).toBe(false)
  expect(state.update(900, 50)).toBe(false)
  expect(state.update(2_000, 60)).toBe(false)
  expect(state.update(2_000, 159)).toBe(false)
  expect(state.update(2_000, 160)).toBe(true)
  expect(state.raised).toBe(true)
  // Hovering between the release and the threshold changes nothing.
  for (let now = 200; now < 2_000; now += 50) expect(state.update(now % 100 === 0 ? 850 : 1_100, now)).toBe(false)
  expect(state.update(700, 2_000)).toBe(false)
  expect(state.update(700, 2_100)).toBe(true)
  expect(state.raised).toBe(false)
})
