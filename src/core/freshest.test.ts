import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { logOf, peersAt, vector } from '../../test/core/kit.js'
import { fenceAt, NO_FENCE } from './fence.js'
import { freshestPeer } from './freshest.js'
import { Position } from './position.js'
import { quorum } from './quorum.js'

const answers = (...all: Parameters<typeof vector>[0][]) => all.map(vector).map(applied => ({ applied }))

describe('which answer may serve', () => {
  test('one that includes the join of all, when any of them may be the only one that has a write', () => {
    const [a, b] = answers({ eu: 5, us: 5 }, { eu: 4, us: 5 })
    expect(freshestPeer([b!, a!], NO_FENCE, 1)).toBe(a)
    expect(freshestPeer(answers({ eu: 5, us: 4 }, { eu: 4, us: 5 }), NO_FENCE, 1)).toBeUndefined()
  })

  test('one that includes what enough of them share, when more have each write', () => {
    const all = answers({ eu: 9, us: 4 }, { eu: 4, us: 9 }, { eu: 4, us: 4 })
    expect(freshestPeer(all, NO_FENCE, 2)).toBe(all[0])
    expect(freshestPeer(all, NO_FENCE, 1)).toBeUndefined()
  })

  test('and the fence, entry by entry', () => {
    const all = answers({ eu: 9, us: 4 }, { eu: 4, us: 9 }, { eu: 4, us: 4 })
    expect(freshestPeer(all, fenceAt(vector({ us: 5 })), 2)).toBe(all[1])
    expect(freshestPeer(all, fenceAt(vector({ us: 5, eu: 5 })), 2)).toBeUndefined()
    expect(freshestPeer(all, { kind: 'primary' }, 2)).toBeUndefined()
    expect(freshestPeer([], NO_FENCE, 1)).toBeUndefined()
  })
})

test('the rung says how many of the answers have each acknowledged write', () => {
  const cluster = peersAt({ a: {}, b: {}, c: {}, d: {}, e: {} })
  const sharedBy = (r: number, w: number, allowPartial = false) => {
    const fixed = { fence: NO_FENCE, now: 0, excluded: undefined, fallbacksInFlight: 0, pinShare: 0, cached: undefined, turn: 0 }
    const step = quorum(r, { allowPartial }).step({ cluster, writeQuorum: w, ...fixed })
    return step?.kind === 'gather' ? step.sharedBy : step?.kind
  }
  expect([sharedBy(3, 3), sharedBy(4, 3), sharedBy(3, 5), sharedBy(5, 5)]).toEqual([1, 2, 3, 5])
  expect(sharedBy(2, 3)).toBe('refusal')
  expect(sharedBy(2, 1, true)).toBe(1)
})

test('whatever is written, replicated and asked: who is chosen has every write that w peers had', () => {
  const N = 4
  let chosen = 0
  let passed = 0
  const run = fc.record({
    /** For each peer, how far it has applied each log. */
    applied: fc.array(fc.array(fc.nat(5), { minLength: N, maxLength: N }), { minLength: N, maxLength: N }),
    w: fc.integer({ min: 1, max: N }),
    r: fc.integer({ min: 1, max: N }),
    order: fc.shuffledSubarray([...Array(N).keys()], { minLength: N, maxLength: N }),
  })
  fc.assert(
    fc.property(run, ({ applied, w, r, order }) => {
      fc.pre(w + r > N)
      const vectors = applied.map(offsets =>
        Position.of(offsets.map((offset, i) => ({ lineage: logOf(`${i}`), offset: BigInt(offset) }))),
      )
      const asked = order.slice(0, r).map(i => ({ applied: vectors[i]! }))
      const best = freshestPeer(asked, NO_FENCE, w + r - N)
      if (best === undefined) {
        passed++
        return
      }
      chosen++
      // In each log, what w peers have applied counts as acknowledged.
      for (let log = 0; log < N; log++) {
        const acknowledged = applied.map(offsets => offsets[log]!).sort((a, b) => b - a)[w - 1]!
        expect(best.applied.offsetIn(logOf(`${log}`)) ?? 0n).toBeGreaterThanOrEqual(BigInt(acknowledged))
      }
    }),
    { numRuns: 3_000 },
  )
  expect(chosen).toBeGreaterThan(300)
  expect(passed).toBeGreaterThan(300)
})
