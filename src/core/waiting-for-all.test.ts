/** Waits for several entries. `waiting-room.test.ts` has those for one. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { logOf, peerAnswer, peersAt, vector } from '../../test/core/kit.js'
import { Cluster } from './cluster.js'
import { fenceAt } from './fence.js'
import { primary, replica, wait } from './ladder.js'
import type { Position } from './position.js'
import { quorum } from './quorum.js'
import { Router } from './router.js'
import { NEAR_REPLICA, type Target } from './target.js'
import { VirtualClock } from './virtual-clock.js'
import { WaitingRoom } from './waiting-room.js'

/** Said anew, without the room. */
const hasAll = ({ nodes }: Cluster, { entries }: Position) =>
  nodes.some(
    ({ usable, peer }) => usable && entries.every(({ lineage, offset }) => (peer?.applied.offsetIn(lineage) ?? -1n) >= offset),
  )

type Applied = Parameters<typeof vector>[0]

function open(cluster: Cluster = peersAt({ eu: {}, us: {}, ap: {} }, 'ap'), maxWaiting = 1_000) {
  const clock = new VirtualClock()
  const room = new WaitingRoom(cluster, clock, { maxWaiting })
  const log: string[] = []
  let at = 0
  return {
    clock,
    cluster,
    room,
    log,
    enter(name: string, position: Position, budgetMs = 1_000, signal?: AbortSignal, target?: Target): void {
      room.waitForAll(position, budgetMs, signal, target).then(
        how => log.push(`${name} ${how}`),
        reason => log.push(`${name} ${reason}`),
      )
    },
    apply(id: string, applied: Applied, incarnation = 'one'): void {
      cluster.observe(cluster.node(id), peerAnswer(logOf(id), vector(applied), ++at, { incarnation }))
    },
    async expectEmpty(): Promise<void> {
      await clock.advance(0)
      expect([room.size, clock.pendingTimers]).toEqual([0, 0])
    },
  }
}

describe('waking', () => {
  test('when one peer has all entries; not when each entry is with another', async () => {
    const { enter, apply, log, clock, expectEmpty } = open()
    enter('both', vector({ eu: 10, us: 10 }))
    apply('ap', { eu: 10, us: 9 })
    apply('eu', { eu: 10, us: 9 })
    apply('us', { eu: 9, us: 10 })
    await clock.advance(0)
    expect(log).toEqual([])
    apply('ap', { eu: 10, us: 10 })
    await expectEmpty()
    expect(log).toEqual(['both caught-up'])
  })

  test('not by a peer that lost in a new life what it had before', async () => {
    const { enter, apply, log, clock } = open()
    enter('both', vector({ eu: 10, us: 10 }))
    apply('ap', { eu: 10, us: 9 })
    apply('ap', { eu: 2, us: 10 }, 'two')
    await clock.advance(0)
    expect(log).toEqual([])
    apply('ap', { eu: 10, us: 10 }, 'two')
    await clock.advance(0)
    expect(log).toEqual(['both caught-up'])
  })

  test('not by one that cannot be used, and by one that joins meanwhile', async () => {
    const { enter, apply, cluster, log, clock, expectEmpty } = open()
    apply('us', { eu: 10, us: 10 })
    cluster.lose(cluster.node('us'), { reason: 'cut' })
    enter('both', vector({ eu: 10, us: 10 }))
    cluster.lose(cluster.node('us'), { reason: 'still cut' })
    cluster.add({ id: 'sa' })
    apply('sa', { eu: 9, us: 10 })
    await clock.advance(0)
    expect(log).toEqual([])
    apply('sa', { eu: 10, us: 10 })
    await expectEmpty()
    expect(log).toEqual(['both caught-up'])
  })

  test('near: only by a peer of the own region', async () => {
    const { enter, apply, log, clock } = open()
    enter('both', vector({ eu: 10, us: 10 }), 1_000, undefined, NEAR_REPLICA)
    apply('us', { eu: 10, us: 10 })
    await clock.advance(0)
    expect(log).toEqual([])
    apply('ap', { eu: 10, us: 10 })
    await clock.advance(0)
    expect(log).toEqual(['both caught-up'])
  })

  test('where it takes several peers, when each entry has reached as many', async () => {
    const { enter, apply, log, clock } = open()
    enter('both', vector({ eu: 10, us: 10 }), 1_000, undefined, quorum(2).target)
    apply('ap', { eu: 10, us: 9 })
    await clock.advance(0)
    expect(log).toEqual([])
    apply('eu', { eu: 10, us: 10 })
    await clock.advance(0)
    expect(log).toEqual(['both caught-up'])
  })
})

test('one deadline, one place within the bound, and nothing is left behind however it ends', async () => {
  const { enter, apply, room, log, clock, expectEmpty } = open(undefined, 3)
  const controller = new AbortController()
  enter('timed', vector({ eu: 10, us: 10 }), 20)
  enter('aborted', vector({ eu: 10, us: 10 }), 1_000, controller.signal)
  enter('closed', vector({ eu: 10, us: 99 }))
  enter('too many', vector({ eu: 1, us: 1 }))
  expect(room.size).toBe(3)
  // What brings it further does not renew the deadline.
  await clock.advance(15)
  apply('ap', { eu: 10 })
  await clock.advance(5)
  expect(log).toEqual(['too many timed-out', 'timed timed-out'])
  controller.abort('gone')
  await clock.advance(0)
  room.close()
  await expectEmpty()
  expect(log.slice(2)).toEqual(['aborted gone', 'closed timed-out'])
  apply('ap', { eu: 10, us: 99 })
  await expectEmpty()
})

test('whatever is applied, lost and born again in whatever order: woken exactly when some peer has it all', async () => {
  const names = ['eu', 'us', 'ap'] as const
  const position = fc
    .dictionary(fc.constantFrom('eu', 'us', 'ap', 'sa'), fc.integer({ min: 1, max: 6 }), { minKeys: 1 })
    .map(vector)
  const event = fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('apply' as const), id: fc.constantFrom(...names), position }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('reborn' as const), id: fc.constantFrom(...names), position }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('lose' as const), id: fc.constantFrom(...names) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('enter' as const), position }) },
  )
  let woken = 0
  let several = 0
  await fc.assert(
    fc.asyncProperty(fc.array(event, { minLength: 20, maxLength: 60 }), async events => {
      // They only follow: the writer of a log has all of it at once.
      const followers = new Cluster(
        names.map(id => ({ id })),
        { topology: 'leaderless' },
      )
      const { cluster, clock, room, enter, log } = open(followers)
      const waiting = new Map<string, Position>()
      let lives = 0
      const life: Record<string, number> = {}
      for (const [i, each] of events.entries()) {
        if (each.kind === 'enter') {
          waiting.set(`${i}`, each.position)
          enter(`${i}`, each.position, 1_000_000)
          continue
        }
        const node = cluster.node(each.id)
        if (each.kind === 'lose') cluster.lose(node, { reason: 'cut' })
        else {
          if (each.kind === 'reborn') life[each.id] = ++lives
          cluster.observe(node, peerAnswer(undefined, each.position, i + 1, { incarnation: `${life[each.id] ?? 0}` }))
        }
        const due = [...waiting].filter(([, needed]) => hasAll(cluster, needed)).map(([name]) => name)
        await clock.advance(0)
        expect(log.splice(0).sort()).toEqual(due.map(name => `${name} caught-up`).sort())
        for (const name of due) {
          woken++
          if (waiting.get(name)!.entries.length > 1) several++
          waiting.delete(name)
        }
      }
      expect(room.size).toBe(waiting.size)
      room.close()
      await clock.advance(0)
      expect([room.size, clock.pendingTimers]).toEqual([0, 0])
    }),
    { numRuns: 150 },
  )
  expect(woken).toBeGreaterThan(500)
  expect(several).toBeGreaterThan(200)
})

describe('a read', () => {
  function bench() {
    const parts = open(peersAt({ eu: { eu: 10 }, us: { us: 7, eu: 9 }, ap: {} }))
    const router = new Router(parts.cluster, parts.room, parts.clock)
    const ladder = [replica(), wait({ budgetMs: 20 }), primary()]
    const read = (needed: Applied) =>
      router.read(
        { fence: fenceAt(vector(needed)), ladder, guarantee: 'read-your-writes' },
        { onNode: node => Promise.resolve(node.id) },
      )
    return { ...parts, read }
  }

  test('waits for the peer that gets all of it', async () => {
    const { read, apply, clock } = bench()
    const served = read({ eu: 10, us: 7 })
    await clock.advance(8)
    apply('us', { eu: 10, us: 7 }, `life of ${logOf('us')}`)
    expect((await served).outcome).toMatchObject({ node: 'us', rung: 'wait', waitedMs: 8, guarantee: 'read-your-writes' })
  })

  test('in vain: nobody is taken for one that has everything', async () => {
    const { read, clock } = bench()
    const served = expect(read({ eu: 10, us: 7 })).rejects.toThrow(
      'it needs shop/eu/1@10 + shop/us/1@7. eu: peer, at shop/eu/1@10; us: peer, at shop/eu/1@9 + shop/us/1@7; ap: peer, at zero',
    )
    await clock.advance(20)
    await served
  })
})
