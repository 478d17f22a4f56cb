import { describe, expect, onTestFinished, test } from 'vitest'
import { answer, ids, listen, newCluster, SYSTEM, T1 } from '../../test/core/kit.js'
import type { Observation } from './engine.js'
import { Monitor, type MonitorOptions } from './monitor.js'
import type { NodeConfig } from './node.js'
import { VirtualClock } from './virtual-clock.js'
import { WaitingRoom } from './waiting-room.js'

const ROUND_TRIP_MS = 2

/** Nodes that answer a probe with where they are, after a round trip on the virtual clock. */
class World {
  readonly clock = new VirtualClock()
  readonly cluster
  readonly room: WaitingRoom
  readonly monitor: Monitor
  readonly positions = new Map<string, number>()
  readonly down = new Set<string>()
  /** These never answer. */
  readonly silent = new Set<string>()
  /** Those that take longer than {@link ROUND_TRIP_MS}. */
  readonly slowMs = new Map<string, number>()
  /** When each node was asked. */
  readonly asked = new Map<string, number[]>()
  readonly #underWay = new Map<string, number>()
  mostAtOnce = 0

  constructor(replicas: number | readonly NodeConfig[] = 1, options?: MonitorOptions) {
    this.cluster = newCluster(replicas)
    this.room = new WaitingRoom(this.cluster, this.clock)
    this.monitor = new Monitor(this.cluster, this.room, (id, timeoutMs) => this.#probe(id, timeoutMs), this.clock, options)
    for (const id of ids(this.cluster.nodes)) {
      this.positions.set(id, 100)
      this.asked.set(id, [])
    }
    onTestFinished(() => this.monitor.stop())
  }

  async start(): Promise<void> {
    const started = this.monitor.start()
    await this.clock.advance(ROUND_TRIP_MS)
    await started
  }

  /** When `id` was asked within the next `ms`, counted from now. */
  async askedWithin(id: string, ms: number): Promise<number[]> {
    const from = this.clock.now()
    const before = this.asked.get(id)!.length
    await this.clock.advance(ms)
    return this.asked
      .get(id)!
      .slice(before)
      .map(at => at - from)
  }

  async #probe(id: string, timeoutMs: number): Promise<Observation> {
    const sentAt = this.clock.now()
    this.asked.get(id)!.push(sentAt)
    const underWay = (this.#underWay.get(id) ?? 0) + 1
    this.#underWay.set(id, underWay)
    this.mostAtOnce = Math.max(this.mostAtOnce, underWay)
    await new Promise<void>(resolve => {
      if (!this.silent.has(id))
        this.clock.setTimer(resolve, this.down.has(id) ? Math.min(timeoutMs, 50) : (this.slowMs.get(id) ?? ROUND_TRIP_MS))
    })
    this.#underWay.set(id, underWay - 1)
    if (this.down.has(id)) throw new Error(`${id} does not answer`)
    const role = id === 'p' ? 'primary' : 'replica'
    return answer(role, this.positions.get(id), sentAt, { receivedAt: this.clock.now() })
  }
}

describe('pace', () => {
  test('start asks everybody once and resolves when all have answered or failed', async () => {
    const world = new World(2)
    world.down.add('r2')
    let started = false
    void world.monitor.start().then(() => {
      started = true
    })
    await world.clock.advance(49)
    expect(started).toBe(false)
    await world.clock.advance(1)
    expect(started).toBe(true)
    expect(world.cluster.nodes.map(node => node.usable)).toEqual([true, true, false])
    expect(world.cluster.node('r2').problem?.reason).toBe('r2 does not answer')
    expect(world.cluster.system).toBe(SYSTEM)
  })

  test('slow when nothing is asked for', async () => {
    const world = new World()
    await world.start()
    expect(await world.askedWithin('r1', 2_000)).toEqual([500, 1_002, 1_504])
    expect(await world.askedWithin('p', 2_000)).toHaveLength(4)
  })

  test('the interval is the configured one', async () => {
    const world = new World(1, { pollIntervalMs: 100 })
    await world.start()
    expect(await world.askedWithin('r1', 1_000)).toHaveLength(9)
  })

  test('at the pace of the round trip while somebody waits, and slow again afterwards', async () => {
    const world = new World()
    await world.start()
    const waited = world.room.wait(T1, 200n, 100)
    const asked = await world.askedWithin('r1', 99)
    expect(asked.length).toBeGreaterThan(20)
    expect(asked.length).toBeLessThanOrEqual(25)
    await world.clock.advance(1)
    expect(await waited).toBe('timed-out')
    expect((await world.askedWithin('r1', 1_000)).length).toBeLessThanOrEqual(4)
  })

  test('nobody waits for the primary: it is asked now and then, for the others to be judged by', async () => {
    const world = new World()
    await world.start()
    void world.room.wait(T1, 200n, 1_000)
    expect(await world.askedWithin('p', 999)).toHaveLength(9)
  })

  test('who waits for a replica that takes long anyway waits hardly longer when it is asked less often', async () => {
    const world = new World()
    await world.start()
    world.cluster.primaryAt(T1, 200n, world.clock.now())
    const waited = world.room.wait(T1, 200n, 2_000)
    const early = await world.askedWithin('r1', 100)
    expect(early.length).toBeGreaterThan(15)
    await world.clock.advance(400)
    const late = await world.askedWithin('r1', 100)
    expect(late.length).toBeGreaterThanOrEqual(100 / (ROUND_TRIP_MS + 20))
    expect(late.length).toBeLessThan(early.length / 2)
    world.positions.set('r1', 200)
    await world.clock.advance(600 / 32 + ROUND_TRIP_MS)
    expect(await waited).toBe('caught-up')
    // It has caught up at once with what comes next.
    world.cluster.primaryAt(T1, 300n, world.clock.now())
    world.positions.set('r1', 300)
    await world.clock.advance(200)
    void world.room.wait(T1, 400n, 100)
    expect((await world.askedWithin('r1', 99)).length).toBeGreaterThan(20)
  })

  test('a wait ends within about two round trips of the replica having caught up', async () => {
    const world = new World()
    await world.start()
    const waited = world.room.wait(T1, 200n, 1_000)
    await world.clock.advance(20)
    world.positions.set('r1', 200)
    await world.clock.advance(3 * ROUND_TRIP_MS)
    expect(await waited).toBe('caught-up')
  })

  test('moderate while a replica is behind what this router knows was written, with nobody waiting', async () => {
    const world = new World(2)
    await world.start()
    world.positions.set('r2', 200)
    world.cluster.primaryAt(T1, 200n, world.clock.now() + 10)
    world.monitor.nudge()
    await world.clock.advance(200)
    const asked = await world.askedWithin('r1', 500)
    expect(asked.length).toBeGreaterThan(3)
    expect(asked.length).toBeLessThanOrEqual(5)
    // It has caught up meanwhile, and is left alone again.
    expect((await world.askedWithin('r2', 500)).length).toBeLessThanOrEqual(1)
    world.positions.set('r1', 200)
    await world.clock.advance(200)
    expect((await world.askedWithin('r1', 500)).length).toBeLessThanOrEqual(1)
  })

  test('slow for those that cannot help: a balanced address, a node that is refused', async () => {
    const world = new World([{ id: 'reader', balanced: true }, { id: 'r1' }])
    await world.start()
    world.cluster.observe(world.cluster.node('p'), answer('primary', 100, world.clock.now(), { system: '8' }))
    const waited = world.room.wait(T1, 200n, 400)
    expect((await world.askedWithin('reader', 400)).length).toBeLessThanOrEqual(2)
    expect(await waited).toBe('timed-out')
    world.cluster.primaryAt(T1, 500n, world.clock.now())
    expect((await world.askedWithin('reader', 2_000)).length).toBeLessThanOrEqual(5)
  })
})

describe('one poll at a time', () => {
  test('however many wait and nudge', async () => {
    const world = new World(2)
    await world.start()
    const waits = Array.from({ length: 1_000 }, (_, i) => world.room.wait(T1, BigInt(200 + i), 50))
    for (let i = 0; i < 50; i++) {
      for (let j = 0; j < 20; j++) world.monitor.nudge()
      await world.clock.advance(1)
    }
    await Promise.all(waits)
    expect(world.mostAtOnce).toBe(1)
    for (const id of ['p', 'r1', 'r2']) expect(world.asked.get(id)!.length).toBeLessThanOrEqual(20)
  })

  test('also while a node takes longer to answer than it used to', async () => {
    const world = new World()
    await world.start()
    world.slowMs.set('r1', 40)
    const waited = world.room.wait(T1, 200n, 200)
    for (let i = 0; i < 200; i++) {
      world.monitor.nudge()
      await world.clock.advance(1)
    }
    expect(await waited).toBe('timed-out')
    expect(world.mostAtOnce).toBe(1)
    expect(world.asked.get('r1')!.length).toBeGreaterThan(3)
  })

  test('a stream of nudges brings a poll forward, and does not put it off', async () => {
    const world = new World()
    await world.start()
    world.cluster.primaryAt(T1, 200n, world.clock.now() + 5)
    const from = world.clock.now()
    for (let i = 0; i < 400; i++) {
      world.monitor.nudge()
      await world.clock.advance(1)
    }
    const asked = world.asked.get('r1')!.filter(at => at > from)
    expect(asked.length).toBeGreaterThanOrEqual(3)
    expect(asked.length).toBeLessThanOrEqual(5)
  })
})

describe('failures', () => {
  test('a failing node is lost, is asked for ever, and is used again after its first answer', async () => {
    const world = new World()
    await world.start()
    world.down.add('r1')
    await world.clock.advance(600)
    expect(world.cluster.node('r1').usable).toBe(false)
    const asked = await world.askedWithin('r1', 10_000)
    expect(asked.length).toBeGreaterThan(15)
    expect(asked.length).toBeLessThan(25)
    world.down.delete('r1')
    await world.clock.advance(600)
    expect(world.cluster.node('r1').usable).toBe(true)
  })

  test('a node that is down is not asked any faster because somebody waits', async () => {
    const world = new World()
    world.down.add('r1')
    const started = world.monitor.start()
    await world.clock.advance(50)
    await started
    const waited = world.room.wait(T1, 200n, 2_000)
    expect((await world.askedWithin('r1', 2_000)).length).toBeLessThanOrEqual(4)
    expect(await waited).toBe('timed-out')
  })

  test('one that stays silent holds up nobody else', async () => {
    const world = new World(2)
    await world.start()
    world.silent.add('r1')
    const before = world.asked.get('r1')!.length
    await world.clock.advance(4_000)
    expect(world.asked.get('r1')!.length).toBe(before + 1)
    expect(world.asked.get('r2')!.length).toBeGreaterThan(before + 3)
  })

  test('a probe that throws instead of rejecting is a failure like any other', async () => {
    const clock = new VirtualClock()
    const cluster = newCluster(1)
    const probe = () => {
      throw new Error('at once')
    }
    const monitor = new Monitor(cluster, new WaitingRoom(cluster, clock), probe, clock)
    await monitor.start()
    expect(cluster.node('r1').problem?.reason).toBe('at once')
    monitor.stop()
  })

  test('a listener that throws is warned of, and the polls go on', async () => {
    const world = new World()
    await world.start()
    const heard = listen('tidemark:warning')
    world.cluster.onChange(() => {
      throw new Error('of a listener')
    })
    await world.clock.advance(600)
    expect(heard.map(({ message }) => message)).toContain('the poller of r1 failed')
    expect((await world.askedWithin('r1', 2_000)).length).toBeGreaterThan(2)
  })
})

describe('refresh', () => {
  test('asks everybody after the call, and resolves when all have answered or failed', async () => {
    const world = new World(2)
    await world.start()
    world.down.add('r2')
    world.positions.set('r1', 200)
    const before = world.clock.now()
    let settled = false
    void world.monitor.refresh().then(() => {
      settled = true
    })
    await world.clock.advance(49)
    expect([settled, world.cluster.node('r1').applied]).toEqual([false, 200n])
    await world.clock.advance(1)
    expect([settled, world.cluster.node('r2').usable]).toEqual([true, false])
    for (const id of ['p', 'r1', 'r2']) expect(world.asked.get(id)!.at(-1), id).toBe(before)
  })

  test('a question that was already under way does not count: its answer may be older than what the caller knows of', async () => {
    const world = new World()
    await world.start()
    world.slowMs.set('r1', 30)
    // The poll that is due by itself is under way, and its answer is of now.
    await world.clock.advance(500)
    const called = world.clock.now()
    const refreshed = world.monitor.refresh().then(() => world.asked.get('r1')!.at(-1)!)
    await world.clock.advance(100)
    expect(await refreshed).toBeGreaterThan(called)
  })

  test('many at once are one more question, which none of them came too late for', async () => {
    const world = new World()
    await world.start()
    world.slowMs.set('r1', 30)
    const done: { readonly called: number; readonly asked: number }[] = []
    const refresh = () => {
      const called = world.clock.now()
      const before = world.asked.get('r1')!.length
      void world.monitor.refresh().then(() => {
        const asked = world.asked.get('r1')!.slice(before)
        done.push({ called, asked: asked[0] ?? Number.NaN })
      })
    }
    refresh()
    await world.clock.advance(10)
    for (let i = 0; i < 20; i++) refresh()
    await world.clock.advance(100)
    expect(done).toHaveLength(21)
    for (const { called, asked } of done) expect(asked).toBeGreaterThanOrEqual(called)
    // The first, and one for the twenty.
    expect(world.asked.get('r1')).toHaveLength(3)
  })

  test('after stop it asks nobody, and settles', async () => {
    const world = new World()
    await world.start()
    world.monitor.stop()
    await world.monitor.refresh()
    expect(world.asked.get('r1')).toHaveLength(1)
  })
})

describe('stop', () => {
  test('ends all polls and leaves no timer; nudges do nothing then', async () => {
    const world = new World(2)
    await world.start()
    world.monitor.stop()
    world.monitor.nudge()
    expect(world.clock.pendingTimers).toBe(0)
    expect(await world.askedWithin('r1', 5_000)).toEqual([])
  })

  test('an answer or a failure that comes after it changes nothing', async () => {
    const world = new World(2)
    await world.start()
    await world.clock.advance(500)
    const before = world.cluster.nodes.map(node => [node.applied, node.usable, node.observedAt])
    world.positions.set('r1', 900)
    world.down.add('r2')
    world.monitor.stop()
    await world.clock.advance(100)
    expect(world.cluster.nodes.map(node => [node.applied, node.usable, node.observedAt])).toEqual(before)
    expect(world.clock.pendingTimers).toBe(0)
  })
})

test('a stray node of another system that answers first does not decide which system this is', async () => {
  const clock = new VirtualClock()
  const cluster = newCluster([{ id: 'stray' }, { id: 'r1' }])
  const probe = async (id: string) => {
    const sentAt = clock.now()
    if (id !== 'stray') await new Promise<void>(resolve => clock.setTimer(resolve, 20))
    return answer(id === 'p' ? 'primary' : 'replica', 100, sentAt, id === 'stray' ? { system: '8' } : {})
  }
  const monitor = new Monitor(cluster, new WaitingRoom(cluster, clock), probe, clock)
  const started = monitor.start()
  await clock.advance(20)
  await started
  monitor.stop()
  expect(cluster.system).toBe(SYSTEM)
  expect(cluster.nodes.filter(node => node.usable).map(node => node.id)).toEqual(['p', 'r1'])
})
