import { expect, test } from 'vitest'
import { VirtualClock } from './virtual-clock.js'

test('time moves only when told to, and timers fire in the order of their times, then of their making', async () => {
  const clock = new VirtualClock()
  const fired: string[] = []
  const note = (name: string) => () => fired.push(`${name} at ${clock.now()}`)
  clock.setTimer(note('late'), 20)
  clock.setTimer(note('first'), 10)
  clock.setTimer(note('second'), 10)
  clock.setTimer(note('cancelled'), 10).cancel()
  await clock.advance(9)
  expect(fired).toEqual([])
  await clock.advance(1)
  expect(fired).toEqual(['first at 10', 'second at 10'])
  expect(clock.pendingTimers).toBe(1)
  await clock.advance(100)
  expect(fired).toEqual(['first at 10', 'second at 10', 'late at 20'])
  expect(clock.now()).toBe(110)
})

test('what a timer begins, and the timers it sets, happen within the same advance', async () => {
  const clock = new VirtualClock()
  const fired: number[] = []
  const again = async () => {
    await Promise.resolve()
    fired.push(clock.now())
    if (fired.length < 4) clock.setTimer(() => void again(), 5)
  }
  clock.setTimer(() => void again(), 5)
  await clock.advance(15)
  expect(fired).toEqual([5, 10, 15])
})

test('random numbers follow from the seed and are spread over [0, 1)', () => {
  const draw = (seed: number) => {
    const clock = new VirtualClock(seed)
    return Array.from({ length: 1_000 }, () => clock.random())
  }
  expect(draw(7)).toEqual(draw(7))
  expect(draw(7)).not.toEqual(draw(8))
  expect(draw(7).every(x => x >= 0 && x < 1)).toBe(true)
  const mean = draw(7).reduce((sum, x) => sum + x, 0) / 1_000
  expect(mean).toBeGreaterThan(0.45)
  expect(mean).toBeLessThan(0.55)
})
