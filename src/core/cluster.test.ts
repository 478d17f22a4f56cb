import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { answer, clusterAt, listen, newCluster, SYSTEM, T1, T2 } from '../../test/core/kit.js'
import type { Observation } from './engine.js'
import { StatsCollector } from './stats.js'

describe('rule 1: what is proven of a life', () => {
  test('nothing is proven of a node that has not been heard of', () => {
    const node = newCluster().node('r1')
    expect([node.usable, node.hasApplied(T1, 0n), node.problem?.reason]).toEqual([false, false, 'not heard of yet'])
  })

  test('applied is a bound in its own history only', () => {
    const node = clusterAt(100, 50).node('r1')
    expect(node.hasApplied(T1, 50n)).toBe(true)
    expect(node.hasApplied(T1, 51n)).toBe(false)
    expect(node.hasApplied(T2, 1n)).toBe(false)
    expect(node.hasApplied(`8/1`, 1n)).toBe(false)
  })

  test('within a life it never goes back, whatever answers arrive in whatever order', () => {
    const event = fc.record({
      sentAt: fc.integer({ min: 1, max: 100 }),
      applied: fc.option(fc.bigInt(0n, 100n), { nil: undefined }),
      epoch: fc.option(fc.constant(1), { nil: undefined }),
      lost: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.array(event), events => {
        const cluster = clusterAt(100, 0)
        const node = cluster.node('r1')
        let [proven, newest] = [0n, 0]
        for (const { sentAt, applied, epoch, lost } of events) {
          if (lost) cluster.lose(node, { reason: 'cut' })
          cluster.observe(node, answer('replica', applied, sentAt, { epoch }))
          if (sentAt >= newest) {
            newest = sentAt
            if (epoch !== undefined && applied !== undefined && applied > proven) proven = applied
          }
          expect(node.applied).toBe(proven)
          expect(node.lineage).toBe(T1)
        }
      }),
    )
  })

  test('a new life may be further back: the old one proves nothing of it', () => {
    const cluster = clusterAt(100, 80)
    const node = cluster.node('r1')
    cluster.observe(node, answer('replica', 30, 10, { incarnation: 'life 2' }))
    expect(node.applied).toBe(30n)
    expect(node.hasApplied(T1, 80n)).toBe(false)
  })

  test.each<[string, Partial<Observation>]>([
    ['position', { applied: undefined }],
    ['history', { epoch: undefined }],
  ])('a new life that does not tell its %s has proven nothing', (_, unknown) => {
    const cluster = clusterAt(100, 80)
    const node = cluster.node('r1')
    cluster.observe(node, answer('replica', 90, 10, { incarnation: 'life 2', ...unknown }))
    expect([node.applied, node.lineage, node.hasApplied(T1, 0n)]).toEqual([undefined, undefined, false])
  })

  test('a change of role is a new life', () => {
    const cluster = clusterAt(100, 80)
    const node = cluster.node('p')
    cluster.observe(node, answer('replica', undefined, 10))
    expect(node.hasApplied(T1, 100n)).toBe(false)
    expect(cluster.primary).toBeUndefined()
  })

  test('another history replaces the position, also by a smaller number', () => {
    const cluster = clusterAt(100, 80)
    cluster.observe(cluster.node('r1'), answer('replica', 5, 10, { epoch: 2 }))
    expect(cluster.node('r1').hasApplied(T2, 5n)).toBe(true)
    expect(cluster.node('r1').hasApplied(T1, 1n)).toBe(false)
  })

  test('a late answer to an old question changes nothing at all', () => {
    const cluster = clusterAt(100, 80)
    const node = cluster.node('r1')
    cluster.observe(node, answer('replica', 30, 20, { incarnation: 'life 2' }))
    const before = JSON.stringify(node, (_, value) => (typeof value === 'bigint' ? `${value}` : value))
    let told = 0
    cluster.onChange(() => told++)
    cluster.observe(node, answer('replica', 90, 10, { incarnation: 'life 1' }))
    cluster.observe(node, answer('primary', 90, 19, { epoch: 9 }))
    expect(JSON.stringify(node, (_, value) => (typeof value === 'bigint' ? `${value}` : value))).toBe(before)
    expect(told).toBe(0)
    expect(cluster.lineage).toBe(T1)
  })

  test('of a balanced address nothing is remembered', () => {
    const cluster = newCluster([{ id: 'reader', balanced: true }])
    const node = cluster.node('reader')
    cluster.observe(cluster.node('p'), answer('primary', 100, 0))
    for (const at of [1, 2]) cluster.observe(node, answer('replica', 100, at))
    expect([node.usable, node.applied, node.lineage]).toEqual([true, undefined, undefined])
    expect(cluster.stalenessMs(node, 10)).toBeUndefined()
    expect(cluster.expectedWaitMs(node, T1, 1n, 10)).toBe(Number.POSITIVE_INFINITY)
  })

  test('balanced addresses that lead to the primary are neither primaries nor rivals', () => {
    const cluster = newCluster([
      { id: 'a', balanced: true },
      { id: 'b', balanced: true },
    ])
    cluster.observe(cluster.node('p'), answer('primary', 100, 0))
    for (const id of ['a', 'b', 'a']) cluster.observe(cluster.node(id), answer('primary', 100, 1))
    expect(cluster.primary?.id).toBe('p')
    expect(cluster.nodes.map(node => node.problem)).toEqual([undefined, undefined, undefined])
  })
})

describe('losing nodes', () => {
  test('a lost node is not used, and is used again after its first answer', () => {
    const cluster = clusterAt(100, 80)
    const node = cluster.node('r1')
    const changes: boolean[] = []
    cluster.onChange(changed => changes.push(changed.usable))
    cluster.lose(node, { reason: 'cut' })
    expect([node.usable, node.reachable, node.problem?.reason]).toEqual([false, false, 'cut'])
    cluster.observe(node, answer('replica', 81, 10))
    expect([node.usable, node.reachable, node.problem]).toEqual([true, true, undefined])
    expect(changes).toEqual([false, true])
  })

  test('whoever has unsubscribed is not told', () => {
    const cluster = clusterAt(100, 80)
    let told = 0
    cluster.onChange(() => told++)()
    cluster.lose(cluster.node('r1'), { reason: 'cut' })
    expect(told).toBe(0)
  })

  test('each change of usability is an event, and only a change', () => {
    const heard = listen('tidemark:node')
    const cluster = clusterAt(100)
    cluster.observe(cluster.node('p'), answer('primary', 101, 1))
    cluster.lose(cluster.node('p'), { reason: 'cut' })
    cluster.lose(cluster.node('p'), { reason: 'cut' })
    expect(heard).toEqual([
      { db: 'default', node: 'p', usable: true },
      { db: 'default', node: 'p', usable: false, reason: 'cut' },
    ])
  })

  test('a node that is not there is a RangeError that names those that are', () => {
    expect(() => newCluster(1).node('r9')).toThrow(/no node "r9"; the nodes are p, r1/)
  })
})

describe('rule 8: primary means primary', () => {
  test('a promotion seats the node with the higher history and unseats the old one', () => {
    const heard = listen('tidemark:primary')
    const cluster = clusterAt(100, 80)
    cluster.observe(cluster.node('r1'), answer('primary', 85, 10, { epoch: 2 }))
    expect([cluster.primary?.id, cluster.lineage]).toEqual(['r1', T2])
    expect(cluster.node('p').usable).toBe(false)
    expect(cluster.node('p').problem?.reason).toMatch(/old primary/)
    expect(heard.map(({ node, previous }) => [node, previous])).toEqual([
      ['p', undefined],
      ['r1', 'p'],
    ])
  })

  test('a switchover is one also when the old primary is seen to follow first; the same one again is none', () => {
    const heard = listen('tidemark:primary')
    const cluster = clusterAt(100, 100)
    const stats = new StatsCollector(cluster.name)
    stats.open()
    onTestFinished(() => stats.close())
    cluster.observe(cluster.node('p'), answer('replica', 100, 10, { incarnation: 'life 2' }))
    expect(cluster.primary).toBeUndefined()
    cluster.observe(cluster.node('p'), answer('primary', 101, 20, { incarnation: 'life 3' }))
    expect(stats.snapshot().failovers).toBe(0)
    cluster.observe(cluster.node('p'), answer('replica', 101, 30, { incarnation: 'life 4' }))
    cluster.observe(cluster.node('r1'), answer('primary', 101, 40, { epoch: 2 }))
    expect(heard.at(-1)).toMatchObject({ node: 'r1', previous: 'p' })
    expect(stats.snapshot().failovers).toBe(1)
  })

  test('an old primary that comes back is refused, however far its numbers are', () => {
    const cluster = clusterAt(100, 80)
    cluster.lose(cluster.node('p'), { reason: 'cut' })
    cluster.observe(cluster.node('r1'), answer('primary', 85, 10, { epoch: 2 }))
    cluster.observe(cluster.node('p'), answer('primary', 1_000, 20))
    expect(cluster.primary?.id).toBe('r1')
    expect(cluster.node('p').usable).toBe(false)
    expect(cluster.log.newest).toBe(85n)
    // Nor while the new one cannot be reached.
    cluster.lose(cluster.node('r1'), { reason: 'cut' })
    cluster.observe(cluster.node('p'), answer('primary', 1_001, 30))
    expect([cluster.primary?.id, cluster.node('p').usable]).toEqual(['r1', false])
  })

  test('it is used again once it follows', () => {
    const cluster = clusterAt(100, 80)
    cluster.observe(cluster.node('r1'), answer('primary', 85, 10, { epoch: 2 }))
    cluster.observe(cluster.node('p'), answer('replica', 85, 20, { epoch: 2, incarnation: 'life 2' }))
    expect([cluster.node('p').usable, cluster.node('p').hasApplied(T2, 85n)]).toEqual([true, true])
    expect(cluster.primary?.id).toBe('r1')
  })

  test('two primaries in the same history: neither is used, nor named as the primary', () => {
    const cluster = clusterAt(100, 80)
    cluster.observe(cluster.node('r1'), answer('primary', 90, 10, { incarnation: 'life of r1' }))
    for (const id of ['p', 'r1']) {
      expect(cluster.node(id).usable).toBe(false)
      expect(cluster.node(id).problem?.reason).toMatch(/two primaries: .*p.*r1|two primaries: .*r1.*p/)
    }
    expect(cluster.primary).toBeUndefined()
    // Hearing of either again changes nothing.
    cluster.observe(cluster.node('p'), answer('primary', 101, 20))
    expect([cluster.primary, cluster.node('p').usable, cluster.node('r1').usable]).toEqual([undefined, false, false])
  })

  test.each(['p', 'r1'])('when one of the two is lost the other is used again (%s is lost)', lost => {
    const cluster = clusterAt(100, 80)
    cluster.observe(cluster.node('r1'), answer('primary', 90, 10, { incarnation: 'life of r1' }))
    cluster.lose(cluster.node(lost), { reason: 'stopped' })
    const left = lost === 'p' ? 'r1' : 'p'
    cluster.observe(cluster.node(left), answer('primary', 102, 20))
    expect([cluster.primary?.id, cluster.node(left).usable]).toEqual([left, true])
    cluster.observe(cluster.node(lost), answer('replica', 102, 30, { incarnation: 'life 2' }))
    cluster.observe(cluster.node(left), answer('primary', 103, 40))
    expect(cluster.nodes.map(node => node.usable)).toEqual([true, true])
  })

  test('a promotion ends the rivalry of two', () => {
    const cluster = clusterAt(100, 80, 70)
    cluster.observe(cluster.node('r1'), answer('primary', 90, 10))
    cluster.observe(cluster.node('r2'), answer('primary', 95, 20, { epoch: 2 }))
    for (const id of ['p', 'r1']) cluster.observe(cluster.node(id), answer('primary', 200, 30))
    expect([cluster.primary?.id, cluster.node('p').usable, cluster.node('r1').usable]).toEqual(['r2', false, false])
  })

  test('a node of another system is refused, as a replica and as a primary', () => {
    const cluster = clusterAt(100, 80)
    for (const [i, role] of (['replica', 'primary'] as const).entries()) {
      cluster.observe(cluster.node('r1'), answer(role, 1_000, 10 + i, { system: '8', epoch: 9 }))
      expect(cluster.node('r1').usable).toBe(false)
      expect(cluster.node('r1').problem?.reason).toMatch(/another system \(8\)/)
    }
    expect([cluster.primary?.id, cluster.lineage, cluster.system]).toEqual(['p', T1, SYSTEM])
    expect(cluster.stalenessMs(cluster.node('r1'), 20)).toBeUndefined()
  })

  test('the primary whose address answers as another system is not used', () => {
    const cluster = clusterAt(100, 80)
    cluster.observe(cluster.node('p'), answer('primary', 1, 10, { system: '8' }))
    expect([cluster.node('p').usable, cluster.lineage, cluster.log.newest]).toEqual([false, T1, 100n])
  })

  test('a primary that does not tell its history is not seated', () => {
    const cluster = newCluster(1)
    cluster.observe(cluster.node('p'), answer('primary', 100, 0, { epoch: undefined }))
    expect(cluster.primary).toBeUndefined()
  })
})

describe('staleness', () => {
  test('the primary is never stale; a node of unknown position or of another history is of unknown staleness', () => {
    const cluster = clusterAt(100, 100, 100)
    cluster.observe(cluster.node('r1'), answer('replica', undefined, 1, { incarnation: 'life 2' }))
    cluster.observe(cluster.node('r2'), answer('replica', 500, 1, { epoch: 3 }))
    expect(['p', 'r1', 'r2'].map(id => cluster.stalenessMs(cluster.node(id), 10))).toEqual([0, undefined, undefined])
  })

  test('counts from when the primary was last known to be where the replica is, also while nobody answers', () => {
    const cluster = clusterAt(100, 100)
    cluster.observe(cluster.node('p'), answer('primary', 100, 50))
    cluster.observe(cluster.node('p'), answer('primary', 200, 60))
    expect(cluster.stalenessMs(cluster.node('r1'), 70)).toBe(20)
    cluster.lose(cluster.node('p'), { reason: 'cut' })
    expect(cluster.stalenessMs(cluster.node('r1'), 1_050)).toBe(1_000)
  })

  test('a primary that does not tell its position makes nobody fresher', () => {
    const cluster = clusterAt(100, 100)
    cluster.observe(cluster.node('p'), answer('primary', undefined, 500))
    expect(cluster.stalenessMs(cluster.node('r1'), 500)).toBe(500)
  })

  test('captured commits count, but only of the present history', () => {
    const cluster = clusterAt(100, 100)
    cluster.primaryAt(T1, 150n, 40)
    cluster.primaryAt(T2, 900n, 41)
    expect(cluster.log.newest).toBe(150n)
    cluster.observe(cluster.node('r1'), answer('replica', 150, 45))
    expect(cluster.stalenessMs(cluster.node('r1'), 50)).toBe(10)
  })

  test('a promotion begins the count anew: offsets of two histories are never compared', () => {
    const cluster = clusterAt(100, 100, 100)
    cluster.observe(cluster.node('r1'), answer('primary', 60, 10, { epoch: 2 }))
    expect(cluster.stalenessMs(cluster.node('r2'), 20)).toBeUndefined()
    cluster.observe(cluster.node('r2'), answer('replica', 60, 15, { epoch: 2 }))
    expect(cluster.stalenessMs(cluster.node('r2'), 20)).toBe(10)
  })

  test('is never too small, whatever the schedule', () => {
    const event = fc.record({
      // Two things at one instant have no order, and the primary is then at two positions.
      afterMs: fc.integer({ min: 1, max: 20 }),
      bytes: fc.integer({ min: 0, max: 30 }),
      who: fc.constantFrom('p', 'r1', 'commit'),
      delayMs: fc.integer({ min: 0, max: 10 }),
      lagMs: fc.integer({ min: 0, max: 60 }),
    })
    let judged = 0
    fc.assert(
      fc.property(fc.array(event, { minLength: 5, maxLength: 100 }), events => {
        const cluster = newCluster(1)
        const [primary, replica] = [cluster.node('p'), cluster.node('r1')]
        const history = [{ at: 0, offset: 0 }]
        const offsetAt = (time: number) => BigInt(history.findLast(step => step.at <= Math.max(0, time))!.offset)
        let [now, shown] = [0, 0]
        cluster.observe(primary, answer('primary', 0, 0))
        for (const { afterMs, bytes, who, delayMs, lagMs } of events) {
          const sentAt = now + afterMs
          now = sentAt + delayMs
          // The write happens while the question is under way; the answer tells where things are then.
          history.push({ at: now, offset: history.at(-1)!.offset + bytes })
          if (who === 'p') cluster.observe(primary, answer('primary', offsetAt(now), sentAt, { receivedAt: now }))
          if (who === 'commit') cluster.primaryAt(T1, offsetAt(now), sentAt)
          if (who !== 'r1') continue
          shown = Math.max(shown, now - lagMs)
          cluster.observe(replica, answer('replica', offsetAt(shown), sentAt, { receivedAt: now }))
          const staleMs = cluster.stalenessMs(replica, now)
          if (staleMs === undefined) continue
          judged++
          // Everything that the primary had then is shown by the replica now.
          expect(offsetAt(now - staleMs) <= replica.applied!).toBe(true)
        }
      }),
      { numRuns: 500 },
    )
    expect(judged).toBeGreaterThan(1_000)
  })
})

describe('expected waits', () => {
  /** Writes every 7 ms, the replica shows them `delayMs` later, both are asked every 5 ms. */
  function replicate(until: number, delayMs: number, from = 0, cluster = clusterAt(0, 0)) {
    const [primary, replica] = [cluster.node('p'), cluster.node('r1')]
    const offsetAt = (time: number) => BigInt(Math.floor(Math.max(0, time) / 7) * 100)
    for (let now = from + 5; now <= until; now += 5) {
      cluster.observe(primary, answer('primary', offsetAt(now), now))
      cluster.observe(replica, answer('replica', offsetAt(now - delayMs), now))
    }
    const commit = offsetAt(until) + 100n
    cluster.primaryAt(T1, commit, until + 3)
    return { cluster, replica, commit, now: until + 3, waitMs: cluster.expectedWaitMs(replica, T1, commit, until + 3) }
  }

  test('none where the offset has been applied, and no end where the history is another one', () => {
    const cluster = clusterAt(100, 80)
    expect(cluster.expectedWaitMs(cluster.node('r1'), T1, 80n, 0)).toBe(0)
    expect(cluster.expectedWaitMs(cluster.node('r1'), T2, 1n, 0)).toBe(Number.POSITIVE_INFINITY)
  })

  test.each([10, 30, 100, 400])('a replica with a constant delay of %i ms takes about that', delayMs => {
    const { waitMs } = replicate(2_000, delayMs)
    expect(waitMs).toBeGreaterThanOrEqual(delayMs * 0.5)
    expect(waitMs).toBeLessThan(delayMs * 1.5 + 15)
  })

  test('what has been waited for already is taken off', () => {
    const cluster = clusterAt(100, 100)
    const replica = cluster.node('r1')
    replica.lagMs = 400
    cluster.primaryAt(T1, 200n, 1_000)
    expect([1_000, 1_100, 1_500].map(now => cluster.expectedWaitMs(replica, T1, 200n, now))).toEqual([400, 300, 0])
  })

  test('questions that come quicker than progress do not make a replica look stuck', () => {
    const cluster = clusterAt(0, 0)
    // A write every 20 ms is shown after 10, the replica is asked every millisecond.
    for (let now = 1; now <= 200; now++) {
      if (now % 20 === 0) cluster.primaryAt(T1, BigInt(now) * 100n, now)
      const shown = Math.max(0, Math.floor((now - 10) / 20) * 20)
      cluster.observe(cluster.node('r1'), answer('replica', shown * 100, now))
      const newest = cluster.log.newest!
      expect(cluster.expectedWaitMs(cluster.node('r1'), T1, newest, now)).toBeLessThan(30)
    }
  })

  test('of a paused replica it grows, and after it has resumed and applied a write or two it is short again', () => {
    const cluster = clusterAt(0, 0)
    replicate(1_000, 10, 0, cluster)
    const frozen = cluster.node('r1').applied!
    const waits: number[] = []
    for (let now = 1_010; now <= 3_000; now += 10) {
      cluster.observe(cluster.node('p'), answer('primary', Math.floor(now / 7) * 100, now))
      cluster.observe(cluster.node('r1'), answer('replica', frozen, now))
      waits.push(cluster.expectedWaitMs(cluster.node('r1'), T1, BigInt(Math.floor(now / 7) * 100), now))
    }
    expect(waits.at(-1)).toBeGreaterThan(1_500)
    expect(waits.at(-1)!).toBeGreaterThan(waits[waits.length >> 1]! + 500)
    expect(replicate(3_200, 10, 3_000, cluster).waitMs).toBeLessThan(40)
  })

  test('a backlog is judged by the rate at which it is worked off', () => {
    const cluster = clusterAt(0, 0)
    cluster.observe(cluster.node('p'), answer('primary', 1_000_000, 10))
    // 100 bytes a millisecond: the backlog of a million takes 10 s.
    for (let now = 20; now <= 200; now += 10) {
      cluster.observe(cluster.node('r1'), answer('replica', (now - 10) * 100, now))
    }
    const waitMs = cluster.expectedWaitMs(cluster.node('r1'), T1, 1_000_000n, 200)
    expect(waitMs).toBeGreaterThan(8_000)
    expect(waitMs).toBeLessThan(12_000)
  })
})

test('a node that has left is not heard any more, and cannot become the primary again', () => {
  const cluster = newCluster(1)
  const primary = cluster.node('p')
  cluster.observe(primary, answer('primary', 100, 0))
  cluster.remove(primary)
  cluster.observe(primary, answer('primary', 200, 5))
  cluster.lose(primary, { reason: 'late' })
  expect(cluster.primary).toBeUndefined()
  expect(primary.problem?.reason).toBe('was removed')
})
