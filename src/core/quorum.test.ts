import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { answer, clusterAt, ids, newCluster, T1, T2 } from '../../test/core/kit.js'
import { Cluster } from './cluster.js'
import { ConfigurationError } from './errors.js'
import { type Fence, NO_FENCE } from './fence.js'
import { primary, type Situation } from './ladder.js'
import { Position } from './position.js'
import { checkQuorums, type Quorum, quorum } from './quorum.js'
import { appliedOn, COMMITTED } from './write-policy.js'

const at = (offset: number, lineage = T1): Fence => ({ kind: 'at', lineage, offset: BigInt(offset) })

function step(rung: Quorum, cluster: Cluster, other: Partial<Situation> = {}) {
  const fixed = { now: 10, excluded: undefined, fallbacksInFlight: 0, pinShare: 0, cached: undefined, turn: 0 }
  return rung.step({ cluster, fence: NO_FENCE, writeQuorum: 2, ...fixed, ...other })
}
const asked = (rung: Quorum, cluster: Cluster, other?: Partial<Situation>) => {
  const decided = step(rung, cluster, other)
  return decided?.kind === 'gather' ? `${decided.size} of ${ids(decided.candidates)}` : (decided?.kind ?? 'pass')
}
/** Of `n` nodes, none of them heard of. */
const ofSize = (n: number) => newCluster(n - 1)

describe('w + r > n', () => {
  test('is what decides, for every w, r and n; the refusal tells the numbers', () => {
    for (let n = 1; n <= 6; n++) {
      for (let w = 1; w <= n; w++) {
        for (let r = 1; r <= n; r++) {
          const check = () => checkQuorums([quorum(r)], quorum(w), ofSize(n))
          if (w + r > n) expect(check).not.toThrow()
          else {
            expect(check).toThrow(ConfigurationError)
            expect(check).toThrow(`acknowledged by ${w} and reads ask ${r} of ${n} nodes, and ${w} + ${r} is not more than ${n}`)
          }
        }
      }
    }
  })

  test('without a write policy, or with one that asks for the commit alone, writes are at one node', () => {
    for (const policy of [undefined, COMMITTED]) {
      expect(() => checkQuorums([quorum(2)], policy, ofSize(3))).toThrow('acknowledged by 1 and reads ask 2 of 3')
      expect(() => checkQuorums([quorum(3)], policy, ofSize(3))).not.toThrow()
    }
  })

  test('with another policy, at as many as that one says', () => {
    expect(() => checkQuorums([quorum(1)], appliedOn('all'), ofSize(3))).not.toThrow()
    expect(() => checkQuorums([quorum(2)], appliedOn('any'), ofSize(3))).not.toThrow()
    expect(() => checkQuorums([quorum(2)], appliedOn('any'), ofSize(4))).toThrow('acknowledged by 2 and reads ask 2 of 4')
  })

  test('a node by its name may be the primary itself: then one node has the write, and that is what counts', () => {
    for (const where of ['p', 'r1']) {
      expect(() => checkQuorums([quorum(2)], appliedOn(where), ofSize(3)), where).toThrow(
        'acknowledged by 1 and reads ask 2 of 3',
      )
    }
  })

  test('is also checked on the way, for a ladder of one query, and can be waived', () => {
    const cluster = clusterAt(100, 100, 100)
    const refused = step(quorum(2), cluster, { writeQuorum: 1 })
    expect(refused).toMatchObject({ kind: 'refusal', error: { message: expect.stringContaining('1 + 2 is not more than 3') } })
    expect(asked(quorum(2, { allowPartial: true }), cluster, { writeQuorum: 1 })).toBe('2 of r1,r2,p')
    expect(() => checkQuorums([quorum(1, { allowPartial: true })], undefined, ofSize(3))).not.toThrow()
    expect([quorum().fenced, quorum(2, { allowPartial: true }).fenced]).toEqual([true, false])
  })

  test('any w nodes and any r nodes then share one', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), fc.nat(), fc.nat(), fc.infiniteStream(fc.nat()), (n, a, b, random) => {
        const [w, r] = [(a % n) + 1, (b % n) + 1]
        const nodes = Array.from({ length: n }, (_, i) => i)
        const pick = (size: number) => {
          const rest = [...nodes]
          return Array.from({ length: size }, () => rest.splice(random.next().value % rest.length, 1)[0]!)
        }
        const [written, read] = [pick(w), pick(r)]
        let refused = false
        try {
          checkQuorums([quorum(r)], quorum(w), ofSize(n))
        } catch {
          refused = true
        }
        expect(refused || read.some(node => written.includes(node))).toBe(true)
      }),
    )
  })
})

describe('while the number of nodes changes', () => {
  test('majorities of n and of n ± 1 nodes meet, for n from 1 to 9', () => {
    const { sizeOf } = quorum()
    for (let n = 1; n <= 9; n++) {
      // One that joins: written by the old number, read by the new one, and the other way round.
      expect(sizeOf(n) + sizeOf(n + 1), `${n} to ${n + 1}`).toBeGreaterThan(n + 1)
      // One that leaves takes at most one copy along.
      if (n > 1) expect(sizeOf(n) - 1 + sizeOf(n - 1), `${n} to ${n - 1}`).toBeGreaterThan(n - 1)
    }
  })

  test('control: two at a time they need not', () => {
    const { sizeOf } = quorum()
    expect(sizeOf(3) + sizeOf(5)).toBe(5)
  })

  test('a fixed number that met no longer does is refused', () => {
    expect(() => checkQuorums([quorum(2)], quorum(2), ofSize(3))).not.toThrow()
    expect(() => checkQuorums([quorum(2)], quorum(2), ofSize(4))).toThrow('2 + 2 is not more than 4')
  })
})

describe('what cannot be', () => {
  test('an address that hides several servers is not counted as one, neither for reads nor for writes', () => {
    const cluster = new Cluster([{ id: 'p' }, { id: 'readers', balanced: true }])
    expect(() => checkQuorums([quorum()], quorum(), cluster)).toThrow(/the address of readers hides an unknown number/)
    expect(() => checkQuorums([primary()], quorum(), cluster)).toThrow(/readers/)
    expect(() => checkQuorums([quorum(2)], COMMITTED, cluster)).toThrow(/readers/)
    expect(() => checkQuorums([primary()], appliedOn('all'), cluster)).toThrow(/waits for readers/)
    expect(() => checkQuorums([primary()], appliedOn('any'), cluster)).not.toThrow()
  })

  test('more than there are', () => {
    expect(() => checkQuorums([quorum(4)], quorum(), ofSize(3))).toThrow('a quorum of 4 can never be reached: there are 3 nodes')
    expect(() => checkQuorums([primary()], quorum(4), ofSize(3))).toThrow('a quorum of 4')
  })

  test('half a node, none, or no time', () => {
    for (const size of [0, -1, 1.5, Number.NaN]) expect(() => quorum(size)).toThrow(ConfigurationError)
    for (const timeoutMs of [0, -1, Number.NaN, 2 ** 31]) expect(() => quorum(2, { timeoutMs })).toThrow(/timeoutMs/)
    expect(() => quorum(2, { onTimeout: 'never' as 'error' })).toThrow(/onTimeout/)
  })

  test('a place that is neither a node nor a region', () => {
    const cluster = new Cluster([
      { id: 'p', region: 'eu' },
      { id: 'r1', region: 'us' },
    ])
    const check = (where: string) => () => checkQuorums([], appliedOn(where), cluster)
    for (const where of ['p', 'r1', 'eu', 'us', 'any', 'all']) expect(check(where), where).not.toThrow()
    expect(check('r2')).toThrow(ConfigurationError)
    expect(check('r2')).toThrow('names neither a node (p, r1) nor a region (eu, us)')
  })
})

describe('whom it asks', () => {
  test('replicas in turn, then the primary; those that did not answer lately last; nobody that failed this read', () => {
    const cluster = clusterAt(100, 100, 100)
    expect([0, 1, 2].map(turn => asked(quorum(), cluster, { turn }))).toEqual(['2 of r1,r2,p', '2 of r1,r2,p', '2 of r2,r1,p'])
    expect(asked(quorum(), cluster, { excluded: new Set([cluster.node('r1')]) })).toBe('2 of r2,p')
    cluster.lose(cluster.node('r1'), { reason: 'cut' })
    expect(asked(quorum(), cluster)).toBe('2 of r2,p,r1')
  })

  test('the own region first', () => {
    const cluster = newCluster(
      [
        { id: 'us', region: 'us' },
        { id: 'eu', region: 'eu' },
      ],
      'eu',
    )
    cluster.observe(cluster.node('p'), answer('primary', 100, 0))
    for (const id of ['us', 'eu']) cluster.observe(cluster.node(id), answer('replica', 100, 0))
    expect(asked(quorum(), cluster, { turn: 1 })).toBe('2 of eu,us,p')
  })

  test('no node that answers and is not used: an old primary that came back is no member', () => {
    const cluster = clusterAt(100, 100, 100)
    cluster.observe(cluster.node('r1'), answer('primary', 100, 1, { epoch: 2 }))
    cluster.observe(cluster.node('p'), answer('primary', 500, 2))
    expect(asked(quorum(), cluster)).toBe('2 of r2,r1')
    expect(asked(quorum(3), cluster)).toBe('pass')
  })

  test('passes when only the primary will do', () => {
    const cluster = clusterAt(100, 100, 100)
    const lost: Fence = { kind: 'possibly-lost', position: Position.at(T2, 1n), verdict: 'foreign' }
    for (const fence of [{ kind: 'primary' } as const, lost]) expect(asked(quorum(), cluster, { fence })).toBe('pass')
    expect(asked(quorum(), cluster, { fence: at(500) })).toBe('2 of r1,r2,p')
  })
})

describe('who has a write', () => {
  const { target } = quorum()
  const has = (cluster: Cluster, offset: number, lineage = T1) => target.reached(cluster, lineage, BigInt(offset))

  test('the primary counts, and whoever is proven to have applied it', () => {
    expect(has(clusterAt(100, 50, 60), 55)).toBe(true)
    expect(has(clusterAt(100, 50, 60), 61)).toBe(false)
    expect(quorum(3).target.reached(clusterAt(100, 50, 60), T1, 55n)).toBe(false)
  })

  test('what is lost has not, nor what is of another history', () => {
    const cluster = clusterAt(100, 100, 50)
    cluster.lose(cluster.node('r1'), { reason: 'cut' })
    expect(has(cluster, 80)).toBe(false)
    expect(has(clusterAt(100, 100, 100), 80, T2)).toBe(false)
    const promoted = clusterAt(100, 50, 50)
    promoted.observe(promoted.node('r1'), answer('primary', 100, 1, { epoch: 2 }))
    // The old primary is not the primary any more: of what it wrote last, nobody else has any.
    expect(has(promoted, 80)).toBe(false)
  })
})
