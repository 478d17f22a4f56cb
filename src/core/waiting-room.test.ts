import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { answer, clusterAt, T1, T2 } from '../../test/core/kit.js'
import type { Cluster } from './cluster.js'
import { VirtualClock } from './virtual-clock.js'
import { WaitingRoom, type WaitingRoomOptions } from './waiting-room.js'

function open(options?: WaitingRoomOptions, cluster: Cluster = clusterAt(1_000, 0, 0)) {
  const clock = new VirtualClock()
  const room = new WaitingRoom(cluster, clock, options)
  const log: string[] = []
  let at = 0
  return {
    clock,
    cluster,
    room,
    /** Who left, in which order and how. */
    log,
    enter(offset: number, budgetMs = 1_000, signal?: AbortSignal, lineage = T1): void {
      room.wait(lineage, BigInt(offset), budgetMs, signal).then(
        how => log.push(`${offset} ${how}`),
        reason => log.push(`${offset} ${reason}`),
      )
    },
    apply(id: string, offset: number, epoch = 1): void {
      cluster.observe(cluster.node(id), answer('replica', offset, ++at, { epoch }))
    },
    async expectEmpty(): Promise<void> {
      await clock.advance(0)
      expect([room.size, clock.pendingTimers]).toEqual([0, 0])
    },
  }
}

describe('waking', () => {
  test('exactly those that are satisfied, in the order of what they need', async () => {
    const { enter, apply, log, room, clock, expectEmpty } = open()
    for (const offset of [50, 10, 30, 20, 40]) enter(offset)
    apply('r1', 30)
    await clock.advance(0)
    expect(log).toEqual(['10 caught-up', '20 caught-up', '30 caught-up'])
    expect(room.size).toBe(2)
    apply('r2', 39)
    await clock.advance(0)
    expect(log).toHaveLength(3)
    apply('r2', 100)
    await expectEmpty()
    expect(log.slice(3)).toEqual(['40 caught-up', '50 caught-up'])
  })

  test('only replicas wake: the primary has everything and is not waited for', async () => {
    const { enter, cluster, log, clock } = open()
    enter(10)
    cluster.observe(cluster.node('p'), answer('primary', 5_000, 1))
    await clock.advance(0)
    expect(log).toEqual([])
  })

  test('only in the history that is waited for', async () => {
    const { enter, apply, log, clock, expectEmpty } = open()
    enter(10, 1_000, undefined, T1)
    enter(11, 1_000, undefined, T2)
    apply('r1', 900, 2)
    await clock.advance(0)
    expect(log).toEqual(['11 caught-up'])
    apply('r2', 900, 1)
    await expectEmpty()
    expect(log).toEqual(['11 caught-up', '10 caught-up'])
  })

  test('not by a replica that cannot be used, and as soon as it can', async () => {
    const { enter, apply, cluster, log, clock } = open()
    apply('r1', 10)
    cluster.lose(cluster.node('r1'), { reason: 'cut' })
    enter(10)
    cluster.observe(cluster.node('r2'), answer('replica', 900, 1, { system: '8' }))
    cluster.lose(cluster.node('r1'), { reason: 'still cut' })
    await clock.advance(0)
    expect(log).toEqual([])
    apply('r1', 10)
    await clock.advance(0)
    expect(log).toEqual(['10 caught-up'])
  })

  test('onFirst is called when the room fills, not for each', () => {
    const { enter, room, apply } = open()
    let called = 0
    room.onFirst = () => called++
    enter(10)
    enter(11)
    expect(called).toBe(1)
    apply('r1', 50)
    enter(60)
    expect(called).toBe(2)
  })
})

describe('leaving otherwise', () => {
  test('each at its own time', async () => {
    const { enter, log, clock, expectEmpty } = open()
    enter(1, 30)
    enter(2, 10)
    enter(3, 20)
    await clock.advance(9)
    expect(log).toEqual([])
    await clock.advance(11)
    expect(log).toEqual(['2 timed-out', '3 timed-out'])
    await clock.advance(10)
    expect(log).toEqual(['2 timed-out', '3 timed-out', '1 timed-out'])
    await expectEmpty()
  })

  test('no budget, no wait', async () => {
    const { enter, log, expectEmpty } = open()
    enter(1, 0)
    enter(2, -5)
    await expectEmpty()
    expect(log).toEqual(['1 timed-out', '2 timed-out'])
  })

  test('on abort, with its reason, and only the one aborted', async () => {
    const { enter, log, clock, room, apply, expectEmpty } = open()
    const controller = new AbortController()
    enter(10, 1_000, controller.signal)
    enter(20, 1_000, new AbortController().signal)
    controller.abort('changed my mind')
    await clock.advance(0)
    expect(log).toEqual(['10 changed my mind'])
    expect(room.size).toBe(1)
    apply('r1', 50)
    await expectEmpty()
  })

  test('at once, when aborted already', async () => {
    const { enter, log, expectEmpty } = open()
    enter(10, 1_000, AbortSignal.abort('too late'))
    await expectEmpty()
    expect(log).toEqual(['10 too late'])
  })

  test('a signal keeps no listener, however the wait ended', async () => {
    const { enter, apply, clock, room, expectEmpty } = open()
    const controller = new AbortController()
    const { signal } = controller
    let listeners = 0
    const { addEventListener, removeEventListener } = signal
    signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
      listeners++
      addEventListener.apply(signal, args)
    }
    signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
      listeners--
      removeEventListener.apply(signal, args)
    }
    enter(10, 1_000, signal)
    enter(20, 5, signal)
    enter(30, 1_000, signal)
    expect(listeners).toBe(3)
    apply('r1', 10)
    await clock.advance(5)
    room.close()
    await expectEmpty()
    expect(listeners).toBe(0)
    // Whoever has left is not disturbed by a late abort.
    controller.abort()
    await expectEmpty()
  })

  test('beyond the bound at once, and the bound is free again when somebody leaves', async () => {
    const { enter, apply, log, clock, room } = open({ maxWaiting: 2 })
    for (const offset of [10, 20, 30]) enter(offset)
    await clock.advance(0)
    expect(log).toEqual(['30 timed-out'])
    apply('r1', 10)
    enter(40)
    await clock.advance(0)
    expect(log).toEqual(['30 timed-out', '10 caught-up'])
    expect(room.size).toBe(2)
  })

  test('all, when the room closes', async () => {
    const { enter, room, log, expectEmpty } = open()
    for (const lineage of [T1, T2]) for (const offset of [3, 1, 2]) enter(offset, 1_000, undefined, lineage)
    room.close()
    await expectEmpty()
    expect(log.toSorted()).toEqual(['1', '1', '2', '2', '3', '3'].map(offset => `${offset} timed-out`))
  })
})

test('behaves like a sorted list under any comings and goings, and leaves nothing behind', async () => {
  const action = fc.oneof(
    { weight: 5, arbitrary: fc.record({ kind: fc.constant('enter'), n: fc.nat(60) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('abort'), n: fc.nat(200) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('apply'), n: fc.nat(25) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('pass'), n: fc.nat(40) }) },
  )
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 1, maxLength: 120 }), async actions => {
      const { room, clock, cluster, expectEmpty } = open()
      const model = new Map<number, { offset: number; until: number; controller: AbortController }>()
      const [left, expected]: [string[], string[]] = [[], []]
      let [names, applied, at] = [0, 0, 0]
      const expectLeft = (name: number, how: string) => {
        model.delete(name)
        expected.push(`${name} ${how}`)
      }
      for (const { kind, n } of actions) {
        if (kind === 'enter') {
          const name = names++
          // What has been applied already is never waited for.
          const offset = applied + 1 + n
          const controller = new AbortController()
          model.set(name, { offset, until: clock.now() + 30 + n, controller })
          room.wait(T1, BigInt(offset), 30 + n, controller.signal).then(
            how => left.push(`${name} ${how}`),
            () => left.push(`${name} aborted`),
          )
        } else if (kind === 'abort') {
          const names = [...model.keys()]
          const name = names[n % Math.max(1, names.length)]
          if (name === undefined) continue
          model.get(name)!.controller.abort()
          expectLeft(name, 'aborted')
        } else if (kind === 'apply') {
          applied += n
          cluster.observe(cluster.node('r1'), answer('replica', applied, ++at))
          for (const [name, { offset }] of [...model]) if (offset <= applied) expectLeft(name, 'caught-up')
        } else {
          await clock.advance(n)
          for (const [name, { until }] of [...model]) if (until <= clock.now()) expectLeft(name, 'timed-out')
        }
        await clock.advance(0)
        expect(left.toSorted()).toEqual(expected.toSorted())
        expect(room.size).toBe(model.size)
        expect(clock.pendingTimers).toBe(model.size)
      }
      room.close()
      await expectEmpty()
    }),
    { numRuns: 200 },
  )
})

test('ten thousand wait on one replica; each new position wakes its own, in order', async () => {
  const { enter, apply, log, clock, expectEmpty } = open()
  const offsets = Array.from({ length: 10_000 }, (_, i) => ((i * 7_919) % 10_000) + 1)
  for (const offset of offsets) enter(offset)
  for (const applied of [1, 4_000, 4_001, 10_000]) {
    apply('r1', applied)
    await clock.advance(0)
    expect(log).toHaveLength(applied)
  }
  expect(log).toEqual(Array.from({ length: 10_000 }, (_, i) => `${i + 1} caught-up`))
  await expectEmpty()
})
