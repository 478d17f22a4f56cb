import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Network } from './network.js'
import { Simulation } from './simulation.js'

function between(seed: number) {
  const simulation = new Simulation(seed)
  const network = new Network(simulation, () => undefined, { local: { delayMs: 1, jitterMs: 20 } })
  return { simulation, network }
}

test('a channel keeps its order through delays, cuts and bursts, and loses nothing', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer(), async seed => {
      const { simulation, network } = between(seed)
      const random = simulation.random('test')
      const arrived: number[] = []
      const channel = network.channel('a', 'b', () => {})
      for (let i = 0; i < 50; i++) simulation.at(i * 3, () => channel.send(() => arrived.push(i)))
      for (let i = 0; i < 6; i++) {
        simulation.at(random.between(0, 150), () => network.cut('a', 'b'))
        simulation.at(random.between(0, 200), () => network.heal('a', 'b'))
        simulation.at(random.between(0, 200), () => {
          network.link('a', 'b').extraMs = random.between(0, 50)
        })
      }
      simulation.at(300, () => network.heal('a', 'b'))
      await simulation.run()
      expect(arrived).toEqual(Array.from({ length: 50 }, (_, i) => i))
    }),
    { numRuns: 60 },
  )
})

test('channels overtake one another', async () => {
  const { simulation, network } = between(5)
  const arrived: string[] = []
  for (let i = 0; i < 20; i++) network.channel('a', 'b', () => {}).send(() => arrived.push(String(i)))
  await simulation.run()
  expect(arrived).toHaveLength(20)
  expect(arrived).not.toEqual(Array.from({ length: 20 }, (_, i) => String(i)))
})

test('nothing arrives while the link is cut, that way only, and then everything at once', async () => {
  const { simulation, network } = between(1)
  const arrived: string[] = []
  network.cut('a', 'b')
  const there = network.channel('a', 'b', () => {})
  for (let i = 0; i < 3; i++) there.send(() => arrived.push(`there at ${simulation.now()}`))
  network.channel('b', 'a', () => {}).send(() => arrived.push('back'))
  await simulation.run({ until: 1_000 })
  expect(arrived).toEqual(['back'])
  network.heal('a', 'b')
  await simulation.run({ until: 2_000 })
  expect(arrived.slice(1)).toEqual(Array.from({ length: 3 }, () => 'there at 1000'))
})

test('what is under way on a channel that is closed never arrives', async () => {
  const { simulation, network } = between(1)
  let arrived = 0
  const channel = network.channel('a', 'b', () => {})
  channel.send(() => arrived++)
  channel.close()
  channel.send(() => arrived++)
  await simulation.run()
  expect(arrived).toBe(0)
})

test('an unreliable link breaks connections about as often as it is told to', async () => {
  const { simulation, network } = between(1)
  let arrived = 0
  let broken = 0
  network.link('a', 'b').breakChance = 0.2
  for (let i = 0; i < 1_000; i++) network.channel('a', 'b', () => broken++).send(() => arrived++)
  await simulation.run()
  expect(arrived + broken).toBe(1_000)
  expect(broken).toBeGreaterThan(150)
  expect(broken).toBeLessThan(250)
})
