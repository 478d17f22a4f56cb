/** A leaderless cluster: what is known of its logs, and what reads make of it. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { logOf, newCluster, peerAnswer, peersAt, vector } from '../../test/core/kit.js'
import { Cluster } from './cluster.js'
import { type Fence, fenceAt, fenceOf, NO_FENCE } from './fence.js'
import { EMPTY_HISTORY, type History } from './history.js'
import { pinned, primary, type Rung, replica, type Situation, type Step, sessionCache, stale, wait } from './ladder.js'
import { MAX_OFFSET, Position } from './position.js'
import { quorum } from './quorum.js'

const step = (rung: Rung, cluster: Cluster, fence: Fence, other: Partial<Situation> = {}): Step =>
  rung.step({
    ...{
      cluster,
      fence,
      now: 10,
      excluded: undefined,
      fallbacksInFlight: 0,
      pinShare: 0,
      writeQuorum: 1,
      cached: undefined,
      turn: 0,
    },
    ...other,
  })
function take(rung: Rung, cluster: Cluster, fence: Fence, other?: Partial<Situation>): string {
  const taken = step(rung, cluster, fence, other)
  return taken === undefined ? 'pass' : taken.kind === 'node' ? taken.id : taken.kind
}
const asks = (applied: Parameters<typeof vector>[0]) => fenceAt(vector(applied))
const wrote = (writes: Position, other: Partial<History> = {}): History => ({ ...EMPTY_HISTORY, writes, ...other })
const fence = (writes: Position, cluster: Cluster, other?: Partial<History>) =>
  fenceOf(wrote(writes, other), 'read-your-writes', cluster)

describe('where a peer is', () => {
  test('within one life its positions only grow; in another they begin anew; a late answer changes nothing', () => {
    const cluster = peersAt({ eu: { eu: 10, us: 5 }, us: { us: 7 } })
    const eu = cluster.node('eu')
    cluster.observe(eu, peerAnswer(logOf('eu'), vector({ eu: 9, us: 6 }), 1))
    expect(eu.peer?.applied.compare(vector({ eu: 10, us: 6 }))).toBe('equal')
    cluster.observe(eu, peerAnswer(logOf('eu'), vector({ eu: 99, us: 99 }), 0, { sentAt: -1 }))
    cluster.observe(eu, peerAnswer(undefined, Position.zero, 2, { peer: undefined, incarnation: 'life of shop/eu/1' }))
    expect(eu.peer?.applied.compare(vector({ eu: 10, us: 6 }))).toBe('equal')
    cluster.observe(eu, peerAnswer(logOf('eu', 2), vector({ eu: 4 }), 3))
    expect(eu.peer?.applied.compare(vector({ eu: 4 }))).toBe('equal')
    expect(eu.hasApplied(logOf('us'), 6n)).toBe(false)
  })

  test('the writer of a log has all of it, also what has not been heard of yet; nobody else has', () => {
    const cluster = peersAt({ eu: { eu: 10 }, us: { eu: 10 } })
    expect(cluster.node('eu').hasApplied(logOf('eu'), 11n)).toBe(true)
    expect(cluster.node('us').hasApplied(logOf('eu'), 11n)).toBe(false)
    expect(cluster.node('us').hasApplied(logOf('eu', 2), 0n)).toBe(false)
    // It has lost its end and writes another log now.
    cluster.observe(cluster.node('eu'), peerAnswer(logOf('eu', 2), vector({ eu: 4 }), 1))
    expect(cluster.node('eu').hasApplied(logOf('eu'), 5n)).toBe(false)
  })

  test('a captured commit is known at once', () => {
    const cluster = peersAt({ eu: { eu: 10 }, us: { eu: 10 } })
    expect(cluster.isBehind(cluster.node('us'))).toBe(false)
    cluster.primaryAt(logOf('eu'), 12n, 1)
    expect(cluster.isBehind(cluster.node('us'))).toBe(true)
    expect(cluster.isBehind(cluster.node('eu'))).toBe(false)
    cluster.primaryAt(logOf('ap'), 12n, 1)
  })
})

describe('who is not used', () => {
  test('one of another system, or with another role, and a peer where there is a primary', () => {
    const cluster = peersAt({ eu: {}, us: {} })
    cluster.observe(cluster.node('us'), peerAnswer(logOf('us'), vector({ eu: 5 }), 1, { system: 'other' }))
    expect(cluster.node('us').problem?.reason).toMatch(/another system/)
    expect(cluster.node('us').hasApplied(logOf('eu'), 5n)).toBe(false)
    cluster.observe(cluster.node('us'), peerAnswer(logOf('us'), vector({ eu: 5 }), 2, { role: 'replica' }))
    expect(cluster.node('us').problem?.reason).toMatch(/leaderless/)
    const physical = newCluster(1)
    physical.observe(physical.node('p'), peerAnswer(logOf('p'), Position.zero, 0))
    expect(physical.node('p').problem?.reason).toMatch(/has a primary/)
  })

  test('two that write one log, neither of them, until one is gone', () => {
    const cluster = peersAt({ eu: {}, us: {} })
    const twin = (at: number) =>
      cluster.observe(cluster.node('us'), peerAnswer(logOf('eu'), vector({ eu: 5 }), at, { incarnation: 'x' }))
    twin(1)
    for (const at of [2, 3]) {
      expect(cluster.nodes.map(node => node.problem?.reason.slice(0, 9))).toEqual(['two peers', 'two peers'])
      cluster.observe(cluster.node('eu'), peerAnswer(logOf('eu'), vector({ eu: 5 }), at))
      expect(cluster.nodes.some(node => node.usable)).toBe(false)
    }
    cluster.lose(cluster.node('us'), { reason: 'stopped' })
    cluster.observe(cluster.node('eu'), peerAnswer(logOf('eu'), vector({ eu: 5 }), 4))
    expect(cluster.node('eu').usable).toBe(true)
  })

  test('an old copy that writes an earlier generation of a log', () => {
    const cluster = peersAt({ eu: { eu: 5 }, us: { [logOf('eu', 2)]: 3 } })
    cluster.observe(cluster.node('eu'), peerAnswer(logOf('eu'), vector({ eu: 5 }), 1))
    expect(cluster.node('eu').problem?.reason).toMatch(/old copy/)
    expect(cluster.logs?.writerOf(logOf('eu'))).toBeUndefined()
    cluster.observe(cluster.node('eu'), peerAnswer(logOf('eu', 2), vector({ eu: 5 }), 2))
    expect(cluster.node('eu').usable).toBe(true)
  })
})

describe('the fence', () => {
  const cluster = () => peersAt({ eu: { eu: 10, us: 5 }, us: { us: 7, eu: 9 }, ap: { eu: 2 } })

  test('is as many entries as the session has written logs', () => {
    expect(fence(Position.zero, cluster())).toEqual(NO_FENCE)
    expect(fence(vector({ eu: 9 }), cluster())).toEqual({ kind: 'at', lineage: logOf('eu'), offset: 9n })
    expect(fence(vector({ eu: 9, us: 7 }), cluster())).toEqual({ kind: 'vector', position: vector({ eu: 9, us: 7 }) })
    expect(fence(vector({ eu: 9 }), cluster(), { uncertain: true })).toEqual({ kind: 'primary' })
  })

  test('a log that is still written may always reach it, also while its writer cannot be asked', () => {
    const one = cluster()
    one.lose(one.node('eu'), { reason: 'cut' })
    expect(one.verdict(logOf('eu'), 999n)).toBe('preserved')
    expect(fence(vector({ eu: 999 }), one).kind).toBe('at')
  })

  /** The end of the log of `eu` is lost; 10 was with nobody else, 9 is with us. */
  function cutOff() {
    const one = cluster()
    one.observe(one.node('eu'), peerAnswer(logOf('eu', 2), vector({ eu: 4, us: 5 }), 1))
    return one
  }

  test('of a log that has lost its end, what somebody has is not lost, and the rest is when everybody has answered', () => {
    const one = cutOff()
    expect(one.verdict(logOf('eu'), 9n)).toBe('preserved')
    expect(fence(vector({ eu: 9, us: 5 }), one)).toEqual({ kind: 'vector', position: vector({ eu: 9, us: 5 }) })
    expect(fence(vector({ eu: 10, us: 5 }), one)).toEqual({
      kind: 'possibly-lost',
      position: vector({ eu: 10 }),
      verdict: 'possibly-lost',
      rest: vector({ us: 5 }),
    })
    // Told first, also to a session that is uncertain: somewhere in that log.
    const doubt = vector({ eu: MAX_OFFSET })
    expect(fence(doubt, one, { uncertain: true })).toMatchObject({ kind: 'possibly-lost', position: doubt })
    one.lose(one.node('ap'), { reason: 'cut' })
    expect(one.verdict(logOf('eu'), 10n)).toBe('unknown')
    expect(fence(vector({ eu: 10 }), one).kind).toBe('at')
    expect(take(replica(), one, fence(vector({ eu: 10 }), one))).toBe('pass')
  })

  test('a log that nobody ever wrote is foreign, when everybody has answered; whoever has not may be its writer', () => {
    expect(cluster().verdict('other/eu/1', 1n)).toBe('foreign')
    expect(fence(Position.at('other/eu/1', 1n), cluster())).toMatchObject({ kind: 'possibly-lost', verdict: 'foreign' })
    const silent = new Cluster([{ id: 'eu' }, { id: 'us' }], { topology: 'leaderless' })
    silent.observe(silent.node('us'), peerAnswer(logOf('us'), Position.zero, 0))
    expect(silent.verdict(logOf('eu'), 1n)).toBe('unknown')
    expect(take(replica(), silent, asks({ eu: 1 }))).toBe('pass')
  })

  test('that says it may be lost is served by one that has the rest, as by a primary, and by no other rung', () => {
    const one = cutOff()
    const lost = fence(vector({ eu: 10, us: 6 }), one)
    expect(take(primary(), one, lost)).toBe('us')
    for (const rung of [replica(), pinned(), wait(), quorum()]) expect(take(rung, one, lost), rung.name).toBe('pass')
    const nobody = fence(vector({ eu: 10, us: 6, ap: 1 }), one)
    expect(take(primary(), one, nobody)).toBe('pass')
  })
})

describe('rungs', () => {
  const cluster = () => peersAt({ eu: { eu: 10, us: 5 }, us: { us: 7, eu: 9 }, ap: { eu: 2, us: 7 } }, 'ap')

  test('replica: a peer that has all entries, near if one has', () => {
    expect(take(replica(), cluster(), asks({ eu: 9, us: 7 }))).toBe('us')
    expect(take(replica(), cluster(), asks({ eu: 2, us: 7 }))).toBe('ap')
    expect(take(replica({ region: 'own' }), cluster(), asks({ eu: 9, us: 7 }))).toBe('pass')
    // Each entry is somewhere, both are nowhere.
    expect(take(replica(), cluster(), asks({ eu: 10, us: 7 }))).toBe('pass')
  })

  test('primary: the origin of the newest entry if it has the others, else any that has; else it passes; within its bound', () => {
    expect(take(primary(), cluster(), asks({ eu: 2, us: 7 }))).toBe('us')
    expect(take(primary(), cluster(), asks({ eu: 10, us: 5 }))).toBe('eu')
    // The newest is of eu, which lacks the other.
    expect(take(primary(), cluster(), asks({ eu: 9, us: 7 }))).toBe('us')
    expect(take(primary(), cluster(), asks({ eu: 10, us: 7 }))).toBe('pass')
    expect(take(primary(), cluster(), { kind: 'primary' })).toBe('pass')
    expect(take(primary({ maxInFlight: 1 }), cluster(), asks({ eu: 2 }), { fallbacksInFlight: 1 })).toBe('pass')
  })

  test('wait: as long as the slowest of the entries is expected to take', () => {
    const one = cluster()
    const near = wait({ budgetMs: 20 })
    expect(take(near, one, asks({ eu: 10, us: 7 }), { now: 1 })).toBe('wait')
    // Of a log that nobody knows, nothing can come.
    expect(take(near, one, asks({ eu: 10, xx: 7 }), { now: 1 })).toBe('pass')
    // All follow eu with a delay of 100 ms, as was seen.
    one.primaryAt(logOf('eu'), 20n, 100)
    for (const id of ['us', 'ap']) one.observe(one.node(id), peerAnswer(logOf(id), vector({ eu: 15, us: 7 }), 200))
    one.primaryAt(logOf('eu'), 30n, 201)
    one.primaryAt(logOf('us'), 30n, 201)
    // Nothing is known of how quickly eu follows us.
    expect(take(near, one, asks({ eu: 30, us: 30 }), { now: 202 })).toBe('wait')
    one.lose(one.node('eu'), { reason: 'cut' })
    expect(take(near, one, asks({ eu: 30, us: 30 }), { now: 202 })).toBe('pass')
    expect(take(wait({ budgetMs: 120 }), one, asks({ eu: 30, us: 30 }), { now: 202 })).toBe('wait')
  })

  test('pinned: to the origin until every peer has all', () => {
    expect(take(pinned(), cluster(), asks({ eu: 10 }))).toBe('eu')
    expect(take(pinned({ to: 'region' }), cluster(), asks({ eu: 10 }))).toBe('eu')
    expect(take(pinned(), peersAt({ eu: { eu: 9 }, us: { eu: 9 } }), asks({ eu: 9 }))).toBe('pass')
  })

  test('sessionCache: until a peer has it, and not what is lost', () => {
    const cached = { rows: [], position: vector({ eu: 10, us: 7 }), storedAt: 5 }
    expect(take(sessionCache(), cluster(), asks({ eu: 10 }), { cached })).toBe('cached')
    const both = peersAt({ eu: { eu: 10, us: 7 }, us: { us: 7 } })
    expect(take(sessionCache(), both, asks({ eu: 10 }), { cached })).toBe('pass')
    const cut = peersAt({ eu: { eu: 4 }, us: { us: 7 } })
    cut.observe(cut.node('eu'), peerAnswer(logOf('eu', 2), vector({ eu: 4 }), 1))
    expect(take(sessionCache(), cut, asks({ us: 7 }), { cached })).toBe('pass')
  })

  test('stale: by how long ago all others were where this peer is; not known while one has not been heard of', () => {
    const one = peersAt({ eu: { eu: 10 }, us: { us: 7, eu: 10 } })
    const [eu, us] = [one.node('eu'), one.node('us')]
    expect(one.stalenessMs(us, 50)).toBe(50)
    expect(one.stalenessMs(eu, 50)).toBeUndefined()
    one.observe(eu, peerAnswer(logOf('eu'), vector({ eu: 10, us: 7 }), 40))
    expect(one.stalenessMs(us, 50)).toBe(10)
    expect(take(stale({ maxLagMs: 20 }), one, asks({ eu: 99 }), { now: 50 })).toBe('us')
    one.observe(eu, peerAnswer(logOf('eu'), vector({ eu: 11, us: 7 }), 60))
    expect(one.stalenessMs(us, 90)).toBe(50)
    one.add({ id: 'ap' })
    expect(one.stalenessMs(us, 90)).toBeUndefined()
  })
})

/** Vectors of up to four logs, small, so that everything comes up. */
const NAMES = ['a', 'b', 'c', 'd'] as const
const position = fc.dictionary(fc.constantFrom(...NAMES), fc.nat(4)).map(vector)

test('whatever the vectors, a node that a fenced rung names has applied the fence in every entry', () => {
  const counts = { named: 0, several: 0, passed: 0 }
  const peers = fc.array(fc.record({ position, lost: fc.boolean(), writes: fc.boolean() }), { minLength: 1, maxLength: 5 })
  const rungs = [replica(), primary(), pinned({ maxShare: 1 }), replica({ region: 'own' }), pinned({ to: 'region' })]
  fc.assert(
    fc.property(peers, position, fc.constantFrom(...rungs), fc.nat(9), (all, needed, rung, turn) => {
      const cluster = new Cluster(
        all.map((_, i) => ({ id: `n${i}`, region: `r${i % 2}` })),
        { topology: 'leaderless', region: 'r0' },
      )
      for (const [i, each] of all.entries()) {
        const log = each.writes ? logOf(NAMES[i] ?? 'e') : undefined
        cluster.observe(cluster.node(`n${i}`), peerAnswer(log, each.position, 0, { incarnation: `${i}` }))
        if (each.lost) cluster.lose(cluster.node(`n${i}`), { reason: 'cut' })
      }
      const asked = fence(needed, cluster)
      const decided = step(rung, cluster, asked, { turn })
      if (decided?.kind !== 'node') {
        counts.passed++
        return
      }
      counts.named++
      const due = asked.kind === 'possibly-lost' ? asked.rest! : needed
      if (due.entries.length > 1) counts.several++
      const [, i] = decided.id.split('n')
      const { position, lost, writes } = all[Number(i)]!
      expect(lost).toBe(false)
      for (const { lineage, offset } of due.entries) {
        const own = writes && lineage === logOf(NAMES[Number(i)] ?? 'e')
        expect(own || (position.offsetIn(lineage) ?? -1n) >= offset, `${decided.id} lacks ${lineage}@${offset}`).toBe(true)
      }
    }),
    { numRuns: 3_000 },
  )
  expect(Math.min(...Object.values(counts)), JSON.stringify(counts)).toBeGreaterThan(200)
})
