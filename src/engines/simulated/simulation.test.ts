import { describe, expect, test } from 'vitest'
import { Simulation } from './simulation.js'

describe('Simulation', () => {
  test('events happen in the order of time, then of being scheduled, with all promises between them', async () => {
    const simulation = new Simulation(1)
    const seen: string[] = []
    const deep = async (name: string) => {
      for (let i = 0; i < 100; i++) await undefined
      seen.push(`${name} at ${simulation.now()}`)
    }
    simulation.after(5, () => void deep('b'))
    simulation.after(1, () => void deep('a'))
    simulation.after(5, () => seen.push('c'))
    simulation.after(7, () => seen.push('cancelled')).cancel()
    simulation.after(9, () => seen.push('too late'))
    await simulation.run({ until: 8 })
    expect(seen).toEqual(['a at 1', 'b at 5', 'c'])
    expect(simulation.now()).toBe(8)
  })

  test('ends when it is done, when nothing is left, and when it would not end', async () => {
    const simulation = new Simulation(1)
    let count = 0
    const again = () => {
      count++
      simulation.after(1, again)
    }
    again()
    await simulation.run({ isDone: () => count === 10 })
    expect(count).toBe(10)
    await expect(simulation.run({ maxEvents: 1_000 })).rejects.toThrow('does not come to an end')
    const idle = new Simulation(1)
    await idle.run()
    expect(idle.now()).toBe(0)
  })

  test('an error in an event is thrown by run', async () => {
    const simulation = new Simulation(1)
    simulation.after(1, () => {
      throw new Error('broken event')
    })
    await expect(simulation.run()).rejects.toThrow('broken event')
  })

  test('generators depend on seed and name, not on who else draws', () => {
    const one = new Simulation(7)
    const other = new Simulation(7)
    other.random('somebody else').next()
    const draw = (simulation: Simulation, name: string) => {
      const random = simulation.random(name)
      return Array.from({ length: 5 }, () => random.next())
    }
    expect(draw(one, 'x')).toEqual(draw(other, 'x'))
    expect(draw(one, 'x')).not.toEqual(draw(one, 'y'))
    expect(draw(one, 'x')).not.toEqual(draw(new Simulation(8), 'x'))
  })
})

describe('ProcessClock', () => {
  test('its timers run by its own rate, never early by its own time', async () => {
    const simulation = new Simulation(1)
    const clock = simulation.clock('router', { rate: 2 })
    const started = clock.now()
    const fired: number[] = []
    clock.setTimer(() => fired.push(simulation.now(), clock.now() - started), 100)
    await simulation.run({ until: 200 })
    expect(fired).toEqual([50, 100])
    clock.setTimer(() => fired.push(clock.now() - started), 100)
    clock.setRate(0.5)
    await simulation.run({ until: 600 })
    expect(fired.at(-1)).toBeCloseTo(500, 3)
  })

  test('its monotonic clock never goes back, whatever its wall clock does', async () => {
    const simulation = new Simulation(3)
    const clock = simulation.clock('router', { wallOffsetMs: 60_000 })
    const random = simulation.random('test')
    let last = clock.now()
    let backwards = 0
    const look = () => {
      expect(clock.now()).toBeGreaterThanOrEqual(last)
      last = clock.now()
      const wall = clock.wallNow()
      clock.jumpWall(random.between(-10_000, 10_000))
      if (clock.wallNow() < wall) backwards++
      clock.setRate(random.between(0.9, 1.1))
      expect(clock.now()).toBeGreaterThanOrEqual(last)
      simulation.after(random.between(0, 3), look)
    }
    look()
    await simulation.run({ until: 1_000 })
    expect(backwards).toBeGreaterThan(50)
  })
})
