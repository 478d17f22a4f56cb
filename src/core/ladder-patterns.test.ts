/** The rungs of the patterns: pins, own values, waiting near. `ladder.test.ts` has the others. */
import { describe, expect, test } from 'vitest'
import { answer, clusterAt, newCluster, T1, T2 } from '../../test/core/kit.js'
import type { Cluster } from './cluster.js'
import { ConfigurationError } from './errors.js'
import { type Fence, NO_FENCE } from './fence.js'
import { pinned, primary, type Rung, replica, type Situation, type Step, sessionCache, wait } from './ladder.js'
import type { NodeConfig } from './node.js'
import { Position } from './position.js'
import { Router } from './router.js'
import type { CacheEntry } from './session-cache.js'
import { NEAR_REPLICA } from './target.js'
import { VirtualClock } from './virtual-clock.js'
import { WaitingRoom } from './waiting-room.js'

const at = (offset: number, lineage = T1): Fence => ({ kind: 'at', lineage, offset: BigInt(offset) })
const PRIMARY: Fence = { kind: 'primary' }
const LOST: Fence = { kind: 'possibly-lost', position: Position.at(T1, 80n), verdict: 'possibly-lost' }

function step(rung: Rung, cluster: Cluster, fence: Fence, other: Partial<Situation> = {}): Step {
  const rest = { excluded: undefined, fallbacksInFlight: 0, pinShare: 0, writeQuorum: 1, cached: undefined, turn: 0 }
  return rung.step({ cluster, fence, now: 10, ...rest, ...other })
}
function take(rung: Rung, cluster: Cluster, fence: Fence, other?: Partial<Situation>): string {
  const taken = step(rung, cluster, fence, other)
  if (taken === undefined) return 'pass'
  return taken.kind === 'node' ? taken.id : taken.kind
}

/** A primary at 100 and replicas where they are said to be, in these regions. */
function regions(own: string | undefined, primaryRegion: string, ...replicas: readonly [NodeConfig, number][]): Cluster {
  const cluster = newCluster([{ id: 'main', region: primaryRegion }, ...replicas.map(([config]) => config)], own)
  cluster.observe(cluster.node('main'), answer('primary', 100, 0))
  for (const [{ id }, applied] of replicas) cluster.observe(cluster.node(id), answer('replica', applied, 0))
  return cluster
}

describe('pinned', () => {
  test('to the primary until every replica has it, not just the first; without a fence or without proof it passes', () => {
    expect(take(pinned(), clusterAt(100, 50, 50), at(80))).toBe('p')
    expect(take(pinned(), clusterAt(100, 100, 50), at(80))).toBe('p')
    expect(take(pinned(), clusterAt(100, 50, 100), at(80))).toBe('p')
    expect(take(pinned(), clusterAt(100, 80, 80), at(80))).toBe('pass')
    for (const fence of [NO_FENCE, PRIMARY, LOST]) expect(take(pinned(), clusterAt(100, 50, 50), fence)).toBe('pass')
    // Control: a replica would do as soon as the first has it.
    expect(take(replica(), clusterAt(100, 100, 50), at(80))).toBe('r1')
  })

  test('one that cannot serve this read is not waited for, and is again when it can', () => {
    const cluster = clusterAt(100, 100, 50)
    const slow = cluster.node('r2')
    expect(take(pinned(), cluster, at(80), { excluded: new Set([slow]) })).toBe('pass')
    cluster.lose(slow, { reason: 'cut' })
    expect(take(pinned(), cluster, at(80))).toBe('pass')
    cluster.observe(slow, answer('replica', 50, 1))
    expect(take(pinned(), cluster, at(80))).toBe('p')
    // It says nothing of where it is: it has not got it.
    const silent = clusterAt(100, 100, 100)
    silent.observe(silent.node('r2'), answer('replica', undefined, 1, { incarnation: 'life 2' }))
    expect(take(pinned(), silent, at(80))).toBe('p')
  })

  test('by the own region alone, if it has replicas', () => {
    const near = (applied: number): [NodeConfig, number] => [{ id: 'near', region: 'eu' }, applied]
    const far = (applied: number): [NodeConfig, number] => [{ id: 'far', region: 'us' }, applied]
    expect(take(pinned(), regions('eu', 'us', near(100), far(50)), at(80))).toBe('pass')
    expect(take(pinned(), regions('eu', 'us', near(50), far(100)), at(80))).toBe('main')
    // No replica of the own region, or no own region: all count.
    expect(take(pinned(), regions('ap', 'us', near(100), far(50)), at(80))).toBe('main')
    expect(take(pinned(), regions(undefined, 'us', near(100), far(50)), at(80))).toBe('main')
    // The only one of the own region is lost: the others would serve.
    const lost = regions('eu', 'us', near(100), far(50))
    lost.lose(lost.node('near'), { reason: 'cut' })
    expect(take(pinned(), lost, at(80))).toBe('main')
  })

  test('within its share of the reads and within what may be in flight', () => {
    const cluster = clusterAt(100, 50)
    const within = (other: Partial<Situation>, rung = pinned({ maxShare: 0.2, maxInFlight: 3 })) =>
      take(rung, cluster, at(80), other)
    expect([within({ pinShare: 0.19 }), within({ pinShare: 0.2 })]).toEqual(['p', 'pass'])
    expect([within({ fallbacksInFlight: 2 }), within({ fallbacksInFlight: 3 })]).toEqual(['p', 'pass'])
    expect([within({ pinShare: 0.49 }, pinned()), within({ pinShare: 0.5 }, pinned())]).toEqual(['p', 'pass'])
    expect(within({ pinShare: 0 }, pinned({ maxShare: 0 }))).toBe('pass')
  })

  test("to the region: whoever of the primary's region has it; the primary when nobody has", () => {
    const rung = pinned({ to: 'region' })
    const same = (applied: number): [NodeConfig, number] => [{ id: 'same', region: 'us' }, applied]
    const other = (applied: number): [NodeConfig, number] => [{ id: 'other', region: 'eu' }, applied]
    expect(take(rung, regions('eu', 'us', same(100), other(50)), at(80))).toBe('same')
    expect(take(rung, regions(undefined, 'us', same(50), other(100)), at(80))).toBe('main')
    expect(take(pinned(), regions('eu', 'us', same(100), other(50)), at(80))).toBe('main')
    // The share bounds what the primary gets, not what its region does.
    const bounded = pinned({ to: 'region', maxShare: 0 })
    expect(take(bounded, regions('eu', 'us', same(100), other(50)), at(80))).toBe('same')
    expect(take(bounded, regions(undefined, 'us', same(50), other(100)), at(80))).toBe('pass')
    // An address that hides several servers proves nothing: pinned to it, the next read may find another.
    const hidden = regions('eu', 'us', [{ id: 'readers', region: 'us', balanced: true }, 100], other(50))
    expect(take(rung, hidden, at(80))).toBe('main')
  })

  test('after a promotion that kept the write it points to the new primary', () => {
    const cluster = clusterAt(100, 90, 50)
    cluster.observe(cluster.node('r1'), answer('primary', 100, 1, { epoch: 2 }))
    cluster.observe(cluster.node('r2'), answer('replica', 50, 1, { epoch: 2 }))
    expect(take(pinned(), cluster, at(80, T2))).toBe('r1')
  })

  test('settings that make no sense are refused', () => {
    for (const make of [
      () => pinned({ to: 'tab' as 'node' }),
      () => pinned({ maxShare: -0.1 }),
      () => pinned({ maxShare: Number.NaN }),
      () => pinned({ maxInFlight: 0 }),
      () => sessionCache({ ttlMs: 0 }),
      () => wait({ region: 'eu' as 'own' }),
    ]) {
      expect(make).toThrow(ConfigurationError)
    }
  })

  test('a router that pins spends about its share of the reads on it, and the next rung has the rest', async () => {
    const cluster = clusterAt(100, 100, 50)
    const clock = new VirtualClock()
    const router = new Router(cluster, new WaitingRoom(cluster, clock), clock)
    const served: string[] = []
    const ladder = [pinned({ maxShare: 0.25 }), replica()]
    for (let i = 0; i < 6_000; i++) {
      const request = { fence: at(80), ladder, guarantee: 'read-your-writes' } as const
      const { outcome } = await router.read(request, { onNode: async node => node.id })
      served.push(outcome.rung)
    }
    const share = served.slice(3_000).filter(rung => rung === 'pinned').length / 3_000
    expect(share).toBeCloseTo(0.25, 1)
    expect(new Set(served)).toEqual(new Set(['pinned', 'replica']))
    // What needs no fence does not count as pinned, and lets the share sink again.
    const free = { fence: NO_FENCE, ladder, guarantee: undefined }
    for (let i = 0; i < 3_000; i++) await router.read(free, { onNode: async node => node.id })
    const again = await router.read({ ...free, fence: at(80) }, { onNode: async node => node.id })
    expect(again.outcome.rung).toBe('pinned')
  })
})

describe('sessionCache', () => {
  const entry = (offset: number, storedAt = 0): CacheEntry => ({ rows: [], position: Position.at(T1, BigInt(offset)), storedAt })
  const serve = (cluster: Cluster, cached: CacheEntry | undefined, other: Partial<Situation> = {}, fence = at(80)) =>
    take(sessionCache({ ttlMs: 100 }), cluster, fence, { cached, ...other })

  test('serves what the author has, while no replica has it', () => {
    expect(serve(clusterAt(100, 50, 50), entry(80))).toBe('cached')
    expect(serve(clusterAt(100, 50, 50), undefined)).toBe('pass')
    expect(step(sessionCache(), clusterAt(100, 50), at(80), { cached: entry(80) })).toEqual({
      kind: 'cached',
      entry: entry(80),
    })
  })

  test('until a replica has it', () => {
    expect(serve(clusterAt(100, 50, 80), entry(80))).toBe('pass')
    // It has what this read needs, but not all that the value shows.
    expect(serve(clusterAt(100, 50, 80), entry(90))).toBe('cached')
  })

  test('also while the replica that has it cannot be had', () => {
    const cluster = clusterAt(100, 50, 80)
    expect(serve(cluster, entry(80), { excluded: new Set([cluster.node('r2')]) })).toBe('cached')
    cluster.lose(cluster.node('r2'), { reason: 'cut' })
    expect(serve(cluster, entry(80))).toBe('cached')
  })

  test('until its time is up', () => {
    const now = (at: number) => serve(clusterAt(100, 50), entry(80, 1_000), { now: at })
    expect([now(1_000), now(1_099), now(1_100)]).toEqual(['cached', 'cached', 'pass'])
  })

  test('nothing when only the primary may answer: not a write that is possibly lost, not to one who is uncertain', () => {
    for (const fence of [PRIMARY, LOST]) expect(serve(clusterAt(100, 50, 50), entry(80), {}, fence)).toBe('pass')
  })
})

describe('wait near', () => {
  const cluster = (nearLag: number, farAt = 100) => {
    const made = regions('eu', 'us', [{ id: 'near', region: 'eu' }, 50], [{ id: 'far', region: 'us' }, farAt])
    made.node('near').latencyMs = 1
    made.node('far').latencyMs = 41
    made.node('main').latencyMs = 61
    made.node('near').lagMs = nearLag
    return made
  }
  const near = (budgetMs?: number) => wait({ region: 'own', ...(budgetMs !== undefined && { budgetMs }) })

  test('as long as crossing to whoever has it would cost, and no longer than its budget', () => {
    expect(step(near(), cluster(5), at(80))).toEqual({ kind: 'wait', budgetMs: 40, target: NEAR_REPLICA })
    // Only the primary has it elsewhere.
    expect(step(near(500), cluster(5, 50), at(80))).toEqual({ kind: 'wait', budgetMs: 60, target: NEAR_REPLICA })
    expect(step(near(20), cluster(5), at(80))).toEqual({ kind: 'wait', budgetMs: 20, target: NEAR_REPLICA })
  })

  test('not at all when it would take longer than crossing', () => {
    expect(take(near(), cluster(49), at(100))).toBe('wait')
    expect(take(near(), cluster(51), at(100))).toBe('vain')
    // Control: within the budget it would be worth waiting for, wherever.
    expect(take(wait(), cluster(51), at(100))).toBe('wait')
  })

  test('nobody else has it, or can be had: the whole budget', () => {
    const alone = cluster(5, 50)
    alone.lose(alone.node('main'), { reason: 'cut' })
    expect(step(near(), alone, at(80))).toMatchObject({ budgetMs: 50 })
    const excluded = new Set([alone.node('main'), alone.node('far')])
    expect(step(near(), cluster(5), at(80), { excluded: new Set([...excluded]) })).toMatchObject({ kind: 'wait' })
  })

  test('passes without a region, without replicas there, and without a fence', () => {
    expect(take(near(), regions(undefined, 'us', [{ id: 'near', region: 'eu' }, 50]), at(80))).toBe('pass')
    expect(take(near(), regions('ap', 'us', [{ id: 'near', region: 'eu' }, 50]), at(80))).toBe('pass')
    expect(take(near(), cluster(5), NO_FENCE)).toBe('pass')
    expect(take(replica({ region: 'own' }), clusterAt(100, 100), at(80))).toBe('pass')
    expect(take(replica({ region: 'own' }), cluster(5), at(80))).toBe('pass')
  })
})

describe('the primary and a fence of a later history', () => {
  test('the primary of an older history does not serve it, by no rung: it is not the primary any more', () => {
    const cluster = clusterAt(100, 50)
    for (const rung of [primary(), pinned()]) {
      expect(take(rung, cluster, at(1, T2)), rung.name).toBe('pass')
      expect(take(rung, cluster, at(80)), rung.name).toBe('p')
    }
  })

  test('as soon as a node writes that history, it does', () => {
    const cluster = clusterAt(100, 50)
    cluster.observe(cluster.node('r1'), answer('primary', 60, 1, { epoch: 2 }))
    expect(take(primary(), cluster, at(1, T2))).toBe('r1')
    // Of an older history the new primary is asked all the same: whether the write is kept is the fence's business.
    expect(take(primary(), cluster, at(1, T1))).toBe('r1')
  })
})
