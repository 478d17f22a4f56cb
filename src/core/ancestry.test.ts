import fc from 'fast-check'
import { expect, test } from 'vitest'
import { answer, clusterAt, SYSTEM, T1, T2 } from '../../test/core/kit.js'
import { type Ancestor, Ancestry } from './ancestry.js'
import { lineageOf } from './engine.js'

const T3 = lineageOf(SYSTEM, 3)
const exactly = (lineage: string, includedUpTo: bigint): Ancestor => ({ lineage, includedUpTo, exact: true })
const atLeast = (lineage: string, includedUpTo: bigint): Ancestor => ({ lineage, includedUpTo, exact: false })

test('at or below an exact switch point preserved, above it possibly lost', () => {
  const ancestry = new Ancestry(T2, [exactly(T1, 100n)], true)
  expect([0n, 99n, 100n, 101n].map(offset => ancestry.verdict(T1, offset))).toEqual([
    'preserved',
    'preserved',
    'preserved',
    'possibly-lost',
  ])
})

test('above a lower bound nothing is known; at or below it is preserved', () => {
  const ancestry = new Ancestry(T2, [atLeast(T1, 100n)])
  expect([100n, 101n].map(offset => ancestry.verdict(T1, offset))).toEqual(['preserved', 'unknown'])
})

test('the present history preserves everything of its own', () => {
  expect(new Ancestry(T2).verdict(T2, 2n ** 63n)).toBe('preserved')
})

test('another system is foreign, whatever is known; an unlisted history is only when all are listed', () => {
  for (const complete of [false, true]) expect(new Ancestry(T2, [], complete).verdict(lineageOf('8', 1), 1n)).toBe('foreign')
  expect(new Ancestry(T3, [exactly(T1, 100n)], true).verdict(T2, 1n)).toBe('foreign')
  expect(new Ancestry(T3, [exactly(T1, 100n)], false).verdict(T2, 1n)).toBe('unknown')
})

test('over two promotions each older history is kept up to the smaller of both points', () => {
  const ancestry = new Ancestry(T1).continuedBy(T2, 100n).continuedBy(T3, 60n)
  // The second promoted node had applied 60: of the first history it has no more than that either.
  expect([60n, 61n, 100n].map(offset => ancestry.verdict(T1, offset))).toEqual(['preserved', 'unknown', 'unknown'])
  expect([60n, 61n].map(offset => ancestry.verdict(T2, offset))).toEqual(['preserved', 'unknown'])
  const further = new Ancestry(T1).continuedBy(T2, 100n).continuedBy(T3, 160n)
  expect([100n, 101n].map(offset => further.verdict(T1, offset))).toEqual(['preserved', 'unknown'])
  expect([160n, 161n].map(offset => further.verdict(T2, offset))).toEqual(['preserved', 'unknown'])
})

test('what was exact is a lower bound for whoever goes on from it', () => {
  const ancestry = new Ancestry(T2, [exactly(T1, 100n)], true).continuedBy(T3, 60n)
  expect(ancestry.verdict(T1, 80n)).toBe('unknown')
  expect(ancestry.complete).toBe(false)
})

test('learning: what is exact stays, of lower bounds the greater one does, whatever comes when', () => {
  const bound = fc.record({ lineage: fc.constant(T1), includedUpTo: fc.bigInt(0n, 90n), exact: fc.constant(false) })
  fc.assert(
    fc.property(fc.array(bound), fc.array(bound), fc.boolean(), (before, after, exact) => {
      const ancestry = new Ancestry(T2)
      for (const each of before) ancestry.learn([each], false)
      if (exact) ancestry.learn([exactly(T1, 95n)], false)
      for (const each of after) ancestry.learn([each], false)
      const greatest = [...before, ...after].reduce<bigint | undefined>(
        (most, { includedUpTo }) => (most === undefined || includedUpTo > most ? includedUpTo : most),
        undefined,
      )
      expect(ancestry.ancestor(T1)?.includedUpTo).toBe(exact ? 95n : greatest)
      expect(ancestry.ancestor(T1)?.exact).toBe(greatest === undefined && !exact ? undefined : exact)
    }),
  )
})

test('a cluster that saw the promotion knows a lower bound, one that saw the node in another life nothing', () => {
  const witness = clusterAt(100, 80)
  witness.observe(witness.node('r1'), answer('primary', 120, 1, { epoch: 2 }))
  expect([80n, 81n].map(offset => witness.verdict(T1, offset))).toEqual(['preserved', 'unknown'])
  const other = clusterAt(100, 80)
  other.observe(other.node('r1'), answer('primary', 120, 1, { epoch: 2, incarnation: 'life 2' }))
  expect(other.verdict(T1, 80n)).toBe('unknown')
})

test('what was read of a history that the cluster has left meanwhile changes nothing', () => {
  const cluster = clusterAt(100, 80)
  cluster.observe(cluster.node('r1'), answer('primary', 120, 1, { epoch: 2 }))
  cluster.learnAncestry(T1, [exactly(T1, 999n)], true)
  expect([cluster.verdict(T1, 500n), cluster.ancestryComplete]).toEqual(['unknown', false])
  cluster.learnAncestry(T2, [exactly(T1, 90n)], true)
  expect([cluster.verdict(T1, 90n), cluster.verdict(T1, 91n), cluster.ancestryComplete]).toEqual([
    'preserved',
    'possibly-lost',
    true,
  ])
})
