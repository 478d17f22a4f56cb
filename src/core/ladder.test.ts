import { describe, expect, test } from 'vitest'
import { answer, clusterAt, newCluster, T1, T2 } from '../../test/core/kit.js'
import type { Cluster } from './cluster.js'
import { ConfigurationError } from './errors.js'
import { type Fence, NO_FENCE } from './fence.js'
import {
  DEFAULT_LADDER,
  NotReadyError,
  notReady,
  primary,
  type Rung,
  replica,
  type Situation,
  type Step,
  sessionCache,
  stale,
  wait,
} from './ladder.js'
import type { NodeConfig } from './node.js'
import { Position } from './position.js'

const at = (offset: number, lineage = T1): Fence => ({ kind: 'at', lineage, offset: BigInt(offset) })
const PRIMARY: Fence = { kind: 'primary' }
const LOST: Fence = { kind: 'possibly-lost', position: Position.at(T2, 1n), verdict: 'foreign' }

function situation(cluster: Cluster, fence: Fence, other: Partial<Situation> = {}): Situation {
  const rest = { excluded: undefined, fallbacksInFlight: 0, pinShare: 0, writeQuorum: 1, cached: undefined, turn: 0 }
  return { cluster, fence, now: 10, ...rest, ...other }
}

/** A step in a word. */
function word(step: Step): string {
  if (step === undefined) return 'pass'
  return step.kind === 'node' ? step.id : step.kind
}
const take = (rung: Rung, cluster: Cluster, fence: Fence, other?: Partial<Situation>) =>
  word(rung.step(situation(cluster, fence, other)))

/** A cluster of replicas that are all at 100, with these settings. */
function equalReplicas(configs: readonly NodeConfig[], region?: string): Cluster {
  const cluster = newCluster(configs, region)
  cluster.observe(cluster.node('p'), answer('primary', 100, 0))
  for (const { id } of configs) cluster.observe(cluster.node(id), answer('replica', 100, 0))
  return cluster
}

const clusters: Record<string, () => Cluster> = {
  'caught up': () => clusterAt(100, 100),
  behind: () => clusterAt(100, 50),
  'replica lost': () => {
    const cluster = clusterAt(100, 100)
    cluster.lose(cluster.node('r1'), { reason: 'cut' })
    return cluster
  },
  'primary lost': () => {
    const cluster = clusterAt(100, 100)
    cluster.lose(cluster.node('p'), { reason: 'cut' })
    return cluster
  },
  'replica of another system': () => {
    const cluster = clusterAt(100, 100)
    cluster.observe(cluster.node('r1'), answer('replica', 900, 1, { system: '8', incarnation: 'other' }))
    return cluster
  },
  'replica promoted': () => {
    const cluster = clusterAt(100, 100)
    cluster.observe(cluster.node('r1'), answer('primary', 100, 1, { epoch: 2 }))
    return cluster
  },
  'two primaries': () => {
    const cluster = clusterAt(100, 100)
    cluster.observe(cluster.node('r1'), answer('primary', 100, 1, { incarnation: 'life of r1' }))
    return cluster
  },
  'old primary is back': () => {
    const cluster = clusterAt(100, 100)
    cluster.observe(cluster.node('r1'), answer('primary', 100, 1, { epoch: 2 }))
    cluster.observe(cluster.node('p'), answer('primary', 500, 2))
    return cluster
  },
  'position of the replica not known': () => {
    const cluster = clusterAt(100, 100)
    cluster.observe(cluster.node('r1'), answer('replica', undefined, 1, { incarnation: 'life 2' }))
    return cluster
  },
  'nothing heard of': () => newCluster(1),
}

describe('what each rung does in each situation', () => {
  //                                   fence:     none   at 80  primary lost
  test.each<[string, string[], string[], string[], string[]]>([
    ['caught up', ['r1', 'r1', 'pass', 'pass'], ['pass', 'wait', 'pass', 'pass'], ['p', 'p', 'p', 'p'], ['r1', 'r1', 'r1', 'r1']],
    [
      'behind',
      ['r1', 'pass', 'pass', 'pass'],
      ['pass', 'wait', 'pass', 'pass'],
      ['p', 'p', 'p', 'p'],
      ['pass', 'pass', 'pass', 'pass'],
    ],
    [
      'replica lost',
      ['pass', 'pass', 'pass', 'pass'],
      ['pass', 'pass', 'pass', 'pass'],
      ['p', 'p', 'p', 'p'],
      ['pass', 'pass', 'pass', 'pass'],
    ],
    [
      'primary lost',
      ['r1', 'r1', 'pass', 'pass'],
      ['pass', 'wait', 'pass', 'pass'],
      ['pass', 'pass', 'pass', 'pass'],
      ['r1', 'r1', 'r1', 'r1'],
    ],
    [
      'replica of another system',
      ['pass', 'pass', 'pass', 'pass'],
      ['pass', 'pass', 'pass', 'pass'],
      ['p', 'p', 'p', 'p'],
      ['pass', 'pass', 'pass', 'pass'],
    ],
    [
      'replica promoted',
      ['pass', 'pass', 'pass', 'pass'],
      ['pass', 'pass', 'pass', 'pass'],
      ['r1', 'r1', 'r1', 'r1'],
      ['pass', 'pass', 'pass', 'pass'],
    ],
    [
      'two primaries',
      ['pass', 'pass', 'pass', 'pass'],
      ['pass', 'pass', 'pass', 'pass'],
      ['pass', 'pass', 'pass', 'pass'],
      ['pass', 'pass', 'pass', 'pass'],
    ],
    [
      'old primary is back',
      ['pass', 'pass', 'pass', 'pass'],
      ['pass', 'pass', 'pass', 'pass'],
      ['r1', 'r1', 'r1', 'r1'],
      ['pass', 'pass', 'pass', 'pass'],
    ],
    [
      'position of the replica not known',
      ['r1', 'pass', 'pass', 'pass'],
      ['pass', 'vain', 'pass', 'pass'],
      ['p', 'p', 'p', 'p'],
      ['pass', 'pass', 'pass', 'pass'],
    ],
    [
      'nothing heard of',
      ['pass', 'pass', 'pass', 'pass'],
      ['pass', 'pass', 'pass', 'pass'],
      ['pass', 'pass', 'pass', 'pass'],
      ['pass', 'pass', 'pass', 'pass'],
    ],
  ])('%s', (name, byReplica, byWait, byPrimary, byStale) => {
    const cluster = clusters[name]!()
    const steps = (rung: Rung) => [NO_FENCE, at(80), PRIMARY, LOST].map(fence => take(rung, cluster, fence))
    expect(steps(replica())).toEqual(byReplica)
    expect(steps(wait())).toEqual(byWait)
    expect(steps(primary())).toEqual(byPrimary)
    // Staleness at time 10 is 10: the pairs of the log are of time 0.
    expect(steps(stale({ maxLagMs: 10 }))).toEqual(byStale)
    expect(steps(notReady())).toEqual(['refusal', 'refusal', 'refusal', 'refusal'])
  })

  test('a fence of another history is met by nobody, however far the numbers are', () => {
    expect(take(replica(), clusterAt(100, 100), at(1, T2))).toBe('pass')
    expect(take(wait(), clusterAt(100, 100), at(1, T2))).toBe('vain')
  })

  test('a node that has failed this read is not named again, by any rung', () => {
    const cluster = clusterAt(100, 100)
    const excluded = new Set(cluster.nodes)
    for (const rung of [replica(), wait(), primary(), stale({ maxLagMs: 1_000 })]) {
      expect(take(rung, cluster, at(80), { excluded }), rung.name).toBe('pass')
    }
  })
})

describe('replica', () => {
  const pick = (cluster: Cluster, other?: Partial<Situation>) => take(replica(), cluster, at(100), other)

  test('only of those that have applied the fence', () => {
    const cluster = clusterAt(100, 99, 100, 98)
    for (let turn = 0; turn < 8; turn++) expect(pick(cluster, { turn })).toBe('r2')
  })

  test('in turn among equals', () => {
    const cluster = clusterAt(100, 100, 100, 100)
    const picked = Array.from({ length: 8 }, (_, turn) => pick(cluster, { turn }))
    expect(picked).toEqual(['r1', 'r1', 'r2', 'r3', 'r1', 'r1', 'r2', 'r3'])
  })

  test('the own region first, then fewest in flight, against latency', () => {
    const cluster = equalReplicas(
      [
        { id: 'near', region: 'eu' },
        { id: 'far', region: 'us' },
      ],
      'eu',
    )
    cluster.node('far').noteLatency(100)
    cluster.node('near').inFlight = 2
    cluster.node('far').inFlight = 1
    for (let turn = 0; turn < 3; turn++) expect(pick(cluster, { turn })).toBe('near')
    const same = equalReplicas([{ id: 'a' }, { id: 'b' }])
    same.node('b').noteLatency(100)
    same.node('a').inFlight = 2
    same.node('b').inFlight = 1
    for (let turn = 0; turn < 3; turn++) expect(pick(same, { turn })).toBe('b')
  })

  test('weights are shares: one of weight 3 takes three for one', () => {
    const cluster = equalReplicas([
      { id: 'light', weight: 1 },
      { id: 'heavy', weight: 3 },
    ])
    for (let turn = 0; turn < 40; turn++) cluster.node(pick(cluster, { turn })).inFlight++
    expect([cluster.node('light').inFlight, cluster.node('heavy').inFlight]).toEqual([10, 30])
  })

  test('then the own region, against latency', () => {
    const cluster = equalReplicas([{ id: 'us', region: 'us' }, { id: 'eu', region: 'eu' }, { id: 'none' }], 'eu')
    cluster.node('us').latencyMs = 1
    cluster.node('eu').latencyMs = 90
    for (let turn = 0; turn < 4; turn++) expect(pick(cluster, { turn })).toBe('eu')
  })

  test('where others of its kind are about to be sent, before load and not before the region', () => {
    const cluster = equalReplicas([{ id: 'a', region: 'eu' }, { id: 'b', region: 'eu' }, { id: 'far' }], 'eu')
    const quick = { tookMs: 1 }
    cluster.node('b').inFlight = 3
    cluster.node('b').gathers = quick
    for (let turn = 0; turn < 3; turn++) {
      expect(pick(cluster, { turn, quick })).toBe('b')
      expect(pick(cluster, { turn, quick: { tookMs: 1 } })).toBe('a')
      expect(pick(cluster, { turn })).toBe('a')
    }
    cluster.node('b').gathers = undefined
    cluster.node('far').gathers = quick
    expect(pick(cluster, { quick })).toBe('a')
  })

  test('then the nearest; differences within a quarter are none', () => {
    const cluster = equalReplicas([{ id: 'a' }, { id: 'b' }])
    cluster.node('a').latencyMs = 10
    cluster.node('b').latencyMs = 7
    const picked = () => new Set(Array.from({ length: 6 }, (_, turn) => pick(cluster, { turn })))
    expect(picked()).toEqual(new Set(['b']))
    cluster.node('b').latencyMs = 9
    expect(picked()).toEqual(new Set(['a', 'b']))
  })

  test('a balanced address only when no node is proven, and whatever the fence: the engine checks on the way', () => {
    const cluster = equalReplicas([{ id: 'reader', balanced: true }, { id: 'r1' }])
    for (let turn = 0; turn < 4; turn++) expect(pick(cluster, { turn })).toBe('r1')
    expect(take(replica(), cluster, at(101))).toBe('reader')
    expect(take(replica(), cluster, PRIMARY)).toBe('pass')
  })
})

describe('wait', () => {
  test('is skipped when no replica can be expected to make it in time', () => {
    const cluster = clusterAt(100, 50)
    cluster.node('r1').lagMs = 200
    expect(take(wait({ budgetMs: 50 }), cluster, at(100))).toBe('vain')
    expect(take(wait({ budgetMs: 250 }), cluster, at(100))).toBe('wait')
  })

  test('one replica that can is enough, unless it is excluded', () => {
    const cluster = clusterAt(100, 50, 50)
    cluster.node('r1').lagMs = 200
    expect(take(wait(), cluster, at(100))).toBe('wait')
    expect(take(wait(), cluster, at(100), { excluded: new Set([cluster.node('r2')]) })).toBe('vain')
  })

  test('tells its budget', () => {
    expect(wait({ budgetMs: 7 }).step(situation(clusterAt(100, 50), at(80)))).toEqual({ kind: 'wait', budgetMs: 7 })
    expect(wait().step(situation(clusterAt(100, 50), at(80)))).toEqual({ kind: 'wait', budgetMs: 50 })
  })
})

describe('primary', () => {
  test('within its bound', () => {
    const cluster = clusterAt(100, 50)
    expect(take(primary({ maxInFlight: 2 }), cluster, at(80), { fallbacksInFlight: 1 })).toBe('p')
    expect(take(primary({ maxInFlight: 2 }), cluster, at(80), { fallbacksInFlight: 2 })).toBe('pass')
    expect(take(primary(), cluster, at(80), { fallbacksInFlight: 63 })).toBe('p')
    expect(take(primary(), cluster, at(80), { fallbacksInFlight: 64 })).toBe('pass')
  })
})

describe('stale', () => {
  test('the freshest replica, if it is fresh enough', () => {
    const cluster = clusterAt(0, 0, 0)
    cluster.observe(cluster.node('p'), answer('primary', 100, 100))
    cluster.observe(cluster.node('p'), answer('primary', 200, 200))
    cluster.observe(cluster.node('p'), answer('primary', 300, 300))
    cluster.observe(cluster.node('r1'), answer('replica', 100, 301))
    cluster.observe(cluster.node('r2'), answer('replica', 200, 301))
    const fence = at(300)
    expect(take(stale({ maxLagMs: 500 }), cluster, fence, { now: 310 })).toBe('r2')
    expect(take(stale({ maxLagMs: 110 }), cluster, fence, { now: 310 })).toBe('r2')
    expect(take(stale({ maxLagMs: 109 }), cluster, fence, { now: 310 })).toBe('pass')
    expect(take(stale({ maxLagMs: 500 }), cluster, fence, { now: 310, excluded: new Set([cluster.node('r2')]) })).toBe('r1')
  })

  test('never one whose staleness is not known', () => {
    const cluster = equalReplicas([{ id: 'reader', balanced: true }])
    expect(take(stale({ maxLagMs: Number.MAX_VALUE }), cluster, NO_FENCE)).toBe('pass')
    expect(take(stale({ maxLagMs: Number.MAX_VALUE }), clusters['position of the replica not known']!(), NO_FENCE)).toBe('pass')
  })

  test('admits that it is not fenced', () => {
    expect([replica(), wait(), primary(), stale({ maxLagMs: 1 })].map(rung => rung.fenced)).toEqual([true, true, true, false])
  })
})

describe('notReady', () => {
  test('says when to try again', () => {
    const step = notReady({ retryAfterMs: 70 }).step(situation(clusterAt(1), NO_FENCE))
    expect(step).toMatchObject({ kind: 'refusal', error: { code: 'TIDEMARK_NOT_READY', retryAfterMs: 70 } })
    expect((step as { error: unknown }).error).toBeInstanceOf(NotReadyError)
  })
})

describe('sessionCache', () => {
  const cached = { rows: [], position: Position.at(T1, 80n), storedAt: 0 }

  test('serves the own value while no replica has it, and nothing in doubt', () => {
    const cluster = clusterAt(100, 50)
    expect(take(sessionCache(), cluster, at(80), { cached })).toBe('cached')
    expect(take(sessionCache(), cluster, PRIMARY, { cached })).toBe('pass')
    expect(take(sessionCache(), cluster, LOST, { cached })).toBe('pass')
  })

  test.each([
    ['was cut off by a promotion', 70n, 'pass'],
    ['is part of the present history', 80n, 'cached'],
  ])('a value that %s', (_, includedUpTo, step) => {
    const cluster = clusterAt(100, 50, 50)
    cluster.observe(cluster.node('r1'), answer('primary', 90, 5, { epoch: 2 }))
    // Nothing tells yet.
    expect(take(sessionCache(), cluster, at(60, T2), { cached })).toBe('pass')
    cluster.learnAncestry(T2, [{ lineage: T1, includedUpTo, exact: true }], true)
    expect(take(sessionCache(), cluster, at(60, T2), { cached })).toBe(step)
  })
})

describe('arguments', () => {
  const bad = [-1, Number.NaN, Number.POSITIVE_INFINITY, '5' as unknown as number]
  test.each<[string, (value: number) => Rung, number]>([
    ['wait({ budgetMs })', budgetMs => wait({ budgetMs }), 0],
    ['primary({ maxInFlight })', maxInFlight => primary({ maxInFlight }), 1],
    ['stale({ maxLagMs })', maxLagMs => stale({ maxLagMs }), 0],
    ['notReady({ retryAfterMs })', retryAfterMs => notReady({ retryAfterMs }), 0],
  ])('%s', (name, make, least) => {
    expect(() => make(least)).not.toThrow()
    for (const value of [...bad, least - 0.5]) {
      expect(() => make(value)).toThrow(ConfigurationError)
      expect(() => make(value)).toThrow(name)
    }
  })

  test('stale without a bound is refused, also from JavaScript', () => {
    expect(() => stale({} as { maxLagMs: number })).toThrow(ConfigurationError)
  })
})

test('rungs are plain values that know nothing of each other: any order is the same steps in that order', () => {
  const rungs = [replica(), wait(), primary(), stale({ maxLagMs: 10 }), notReady()]
  const before = situation(clusters.behind!(), at(80))
  const single = new Map(rungs.map(rung => [rung.name, word(rung.step(before))]))
  for (const order of permutations(rungs)) {
    expect(order.map(rung => word(rung.step(before)))).toEqual(order.map(rung => single.get(rung.name)))
  }
  expect(DEFAULT_LADDER.map(rung => rung.name)).toEqual(['replica', 'wait', 'replica', 'wait', 'primary'])
  expect(Object.isFrozen(DEFAULT_LADDER)).toBe(true)
})

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length === 0) return [[]]
  return items.flatMap((item, i) => permutations(items.toSpliced(i, 1)).map(rest => [item, ...rest]))
}
