import { describe, expect, test } from 'vitest'
import { SimulatedCluster, type SimulatedClusterOptions } from './cluster.js'
import type { Connection } from './connection.js'
import { Simulation } from './simulation.js'

function world(seed = 1, options?: SimulatedClusterOptions) {
  const simulation = new Simulation(seed)
  const cluster = new SimulatedCluster(simulation, options)
  const open = async (id: string, from = 'client') => {
    const connection = cluster.connect(from, id)
    await connection.opened
    return connection
  }
  const read = async (connection: Connection, key = 'k') => {
    const { rows } = await connection.request({ kind: 'read', keys: [key] })
    return rows[0]?.value
  }
  const write = (connection: Connection, value: string, asyncCommit = false) =>
    connection.request({ kind: 'write', values: [['k', value]], asyncCommit })
  /** Runs the world for as long as `work` takes, and not longer. */
  const during = async <T>(work: () => Promise<T>): Promise<T> => {
    let result: { readonly value: T } | { readonly error: unknown } | undefined
    work().then(
      value => {
        result = { value }
      },
      error => {
        result = { error }
      },
    )
    await simulation.run({ isDone: () => result !== undefined, until: simulation.now() + 60_000 })
    if (result === undefined) throw new Error('it did not come to an end within a minute')
    if ('error' in result) throw result.error
    return result.value
  }
  const pass = (ms: number) => simulation.run({ until: simulation.now() + ms })
  return { simulation, cluster, open, read, write, during, pass }
}

test('a write is read from the primary at once and from a standby once it has been replayed', async () => {
  const { open, read, write, during, pass, cluster } = world()
  cluster.pauseReplay('b')
  const { primary, standby } = await during(async () => ({ primary: await open('a'), standby: await open('b') }))
  expect(await during(() => write(primary, '1'))).toMatchObject({ rows: [{ key: 'k', value: '1', prev: null }] })
  expect(await during(() => write(primary, '2'))).toMatchObject({ rows: [{ prev: '1' }] })
  expect(await during(() => read(primary))).toBe('2')
  await pass(1_000)
  expect(await during(() => read(standby))).toBe(null)
  cluster.resumeReplay('b')
  await pass(100)
  expect(await during(() => read(standby))).toBe('2')
  await expect(during(() => write(standby, '3'))).rejects.toThrow('read-only')
})

test('an asynchronous commit is answered, seen, and lost in a crash', async () => {
  const { open, read, write, during, cluster } = world()
  const before = await during(() => open('a'))
  await during(() => write(before, 'kept'))
  await during(() => write(before, 'lost', true))
  expect(await during(() => read(before))).toBe('lost')
  const { insert, flush } = await during(() => before.request({ kind: 'log-end' }))
  expect(insert).toBeGreaterThan(flush)
  cluster.crash('a')
  await expect(during(() => read(before))).rejects.toThrow('gone away')
  cluster.restart('a')
  const after = await during(() => open('a'))
  expect(await during(() => read(after))).toBe('kept')
  expect(cluster.versions.map(({ value }) => value)).toEqual(['kept', 'lost'])
})

test('a promotion cuts off what the promoted one has not received', async () => {
  const { open, read, write, during, pass, cluster } = world()
  const old = await during(() => open('a'))
  await during(() => write(old, 'kept'))
  await pass(100)
  cluster.cut('a', 'b')
  await during(() => write(old, 'cut off'))
  await pass(100)
  cluster.promote('b')
  cluster.follow('c', 'b')
  await pass(1_000)
  const promoted = await during(() => open('b'))
  expect(await during(() => read(promoted))).toBe('kept')
  const check = await during(() => promoted.request({ kind: 'check' }))
  expect(check).toMatchObject({ recovering: false, timeline: 2 })
  const history = await during(() => promoted.request({ kind: 'timeline-history' }))
  expect(history.ancestors).toHaveLength(1)
  // c had applied what was cut off: it cannot follow, and says that it does not know where it is.
  expect(cluster.server('c').receiver.streaming).toBe(false)
  const stuck = await during(() => open('c'))
  expect(await during(() => stuck.request({ kind: 'position' }))).toMatchObject({ recovering: true, timeline: null })
  cluster.rejoin('c')
  cluster.rejoin('a')
  await pass(1_000)
  for (const id of ['a', 'c']) expect(await during(async () => read(await open(id)))).toBe('kept')
})

describe('determinism', () => {
  async function story(seed: number): Promise<string> {
    const { simulation, cluster, open, during } = world(seed)
    const random = simulation.random('story')
    let count = 0
    const client = async (name: string) => {
      for (let i = 0; i < 50; i++) {
        try {
          const connection = await open(random.pick(cluster.ids), name)
          const values = [[random.pick(['k', 'l']), `${name}-${i}`]] as const
          if (random.chance(0.5)) await connection.request({ kind: 'write', values, asyncCommit: random.chance(0.3) })
          else simulation.note(JSON.stringify(await connection.request({ kind: 'read', keys: ['k', 'l'] })))
          connection.destroy()
        } catch (error) {
          simulation.note(String(error))
        }
        await simulation.sleep(random.between(0, 20))
      }
      count++
    }
    const faults = async () => {
      while (count < 3) {
        await simulation.sleep(random.between(0, 100))
        const id = random.pick(cluster.ids)
        const what = random.below(4)
        if (what === 0) cluster.restart(id, { behind: 2 })
        else if (what === 1) cluster.promote(id)
        else if (what === 2 && id !== cluster.primary?.id) cluster.rejoin(id)
        else cluster.delay('one', id, random.between(0, 50))
      }
    }
    await during(() => Promise.all([client('one'), client('two'), client('three'), faults()]))
    return `${simulation.digest} ${simulation.events}`
  }

  test('the same seed gives the same world, another seed another', async () => {
    const first = await story(42)
    expect(await story(42)).toBe(first)
    expect(await story(43)).not.toBe(first)
  })
})
