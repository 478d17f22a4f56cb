import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { answer, clusterAt, newCluster, T1 } from '../../test/core/kit.js'
import type { Cluster } from './cluster.js'
import { quorum } from './quorum.js'
import { ANY_REPLICA, NEAR_REPLICA, type Target } from './target.js'
import { VirtualClock } from './virtual-clock.js'
import { WaitingRoom } from './waiting-room.js'
import { appliedOn } from './write-policy.js'

const ALL = appliedOn('all').target
const MAJORITY = quorum(2).target

function open(cluster: Cluster = clusterAt(1_000, 0, 0)) {
  const clock = new VirtualClock()
  const room = new WaitingRoom(cluster, clock)
  const log: string[] = []
  let at = 0
  return {
    cluster,
    clock,
    room,
    log,
    enter(name: string, target: Target, offset: number): void {
      void room.wait(T1, BigInt(offset), 1_000, undefined, target).then(how => log.push(`${name} ${how}`))
    },
    /** Who has woken since the last time. */
    async woken(): Promise<string[]> {
      await clock.advance(0)
      return log.splice(0).sort()
    },
    apply(id: string, offset: number): void {
      cluster.observe(cluster.node(id), answer('replica', offset, ++at))
    },
    lose: (id: string) => cluster.lose(cluster.node(id), { reason: 'cut' }),
  }
}

describe('a wait ends when its own target has got there', () => {
  test('any replica, a quorum of all nodes, all of them, one by its name', async () => {
    const { enter, apply, woken } = open(clusterAt(1_000, 0, 0, 0))
    enter('any', ANY_REPLICA, 10)
    enter('two', MAJORITY, 10)
    enter('three', quorum(3).target, 10)
    enter('all', ALL, 10)
    enter('r3', appliedOn('r3').target, 10)
    apply('r1', 9)
    expect(await woken()).toEqual([])
    apply('r1', 10)
    // The primary is one of the two.
    expect(await woken()).toEqual(['any caught-up', 'two caught-up'])
    apply('r2', 10)
    expect(await woken()).toEqual(['three caught-up'])
    apply('r3', 10)
    expect(await woken()).toEqual(['all caught-up', 'r3 caught-up'])
  })

  test('the same offset of different targets: the one that is reached does not wake the other', async () => {
    const { enter, apply, woken, room, clock } = open()
    enter('all', ALL, 10)
    enter('any', ANY_REPLICA, 20)
    apply('r1', 20)
    expect(await woken()).toEqual(['any caught-up'])
    await clock.advance(1_000)
    expect(await woken()).toEqual(['all timed-out'])
    expect([room.size, clock.pendingTimers]).toEqual([0, 0])
  })

  test('all of them: one that is lost has not got anything, and one that comes back has', async () => {
    const { enter, apply, lose, woken } = open()
    apply('r1', 10)
    lose('r1')
    enter('all', ALL, 10)
    apply('r2', 10)
    expect(await woken()).toEqual([])
    apply('r1', 10)
    expect(await woken()).toEqual(['all caught-up'])
  })

  test('a region: all that are in it, whoever else has got there', async () => {
    const cluster = newCluster([
      { id: 'eu-1', region: 'eu' },
      { id: 'eu-2', region: 'eu' },
      { id: 'us-1', region: 'us' },
    ])
    cluster.observe(cluster.node('p'), answer('primary', 1_000, 0))
    const { enter, apply, woken } = open(cluster)
    enter('eu', appliedOn('eu').target, 10)
    apply('us-1', 10)
    apply('eu-1', 10)
    expect(await woken()).toEqual([])
    apply('eu-2', 10)
    expect(await woken()).toEqual(['eu caught-up'])
  })

  test('near: a replica of the own region, not any', async () => {
    const cluster = newCluster(
      [
        { id: 'eu', region: 'eu' },
        { id: 'us', region: 'us' },
      ],
      'eu',
    )
    cluster.observe(cluster.node('p'), answer('primary', 1_000, 0))
    const { enter, apply, woken } = open(cluster)
    enter('near', NEAR_REPLICA, 10)
    apply('us', 10)
    expect(await woken()).toEqual([])
    apply('eu', 10)
    expect(await woken()).toEqual(['near caught-up'])
  })

  test('whatever is applied and lost in whatever order: woken exactly when the target was reached meanwhile', async () => {
    const targets: Record<string, Target> = { any: ANY_REPLICA, all: ALL, two: MAJORITY, three: quorum(3).target }
    const nodes = ['r1', 'r2', 'r3']
    const event = fc.record({ node: fc.constantFrom(...nodes), by: fc.nat({ max: 4 }), lost: fc.boolean() })
    const waiter = fc.record({ target: fc.constantFrom(...Object.keys(targets)), offset: fc.integer({ min: 1, max: 12 }) })
    await fc.assert(
      fc.asyncProperty(fc.array(waiter, { maxLength: 12 }), fc.array(event, { maxLength: 20 }), async (waiters, events) => {
        const { enter, apply, lose, cluster, clock, log } = open(clusterAt(1_000, 0, 0, 0))
        for (const [index, { target, offset }] of waiters.entries()) enter(`${index}`, targets[target]!, offset)
        const where = new Map(nodes.map(node => [node, 0]))
        const lost = new Set<string>()
        const reached = new Set<string>()
        for (const { node, by, lost: goes } of events) {
          if (goes) {
            lose(node)
            lost.add(node)
          } else {
            where.set(node, where.get(node)! + by)
            apply(node, where.get(node)!)
            lost.delete(node)
          }
          for (const [index, { target, offset }] of waiters.entries()) {
            const having = nodes.filter(each => !lost.has(each) && where.get(each)! >= offset).length
            const needed = { any: 1, all: 3, two: 1, three: 2 }[target]!
            if (having >= needed) reached.add(`${index} caught-up`)
          }
        }
        await clock.advance(0)
        expect(new Set(log)).toEqual(reached)
        expect(cluster.nodes).toHaveLength(4)
        await clock.advance(1_000)
        expect(log).toHaveLength(waiters.length)
      }),
    )
  })
})
