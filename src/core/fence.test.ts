import { describe, expect, test } from 'vitest'
import { answer, clusterAt, newCluster, T1, T2 } from '../../test/core/kit.js'
import { fenceOf, isLeftMeanwhile } from './fence.js'
import { EMPTY_HISTORY, type History, UNCERTAIN_HISTORY } from './history.js'
import { Position } from './position.js'

const wrote = (writes: Position, other: Partial<History> = {}): History => ({ ...EMPTY_HISTORY, writes, ...other })
const at = (lineage: string, offset: bigint) => Position.at(lineage, offset)

test('a session that has done nothing asks for nothing', () => {
  expect(fenceOf(EMPTY_HISTORY, 'read-your-writes', clusterAt(10, 10))).toEqual({ kind: 'none' })
})

test('its writes are the fence; what it has read only for monotonic reads', () => {
  const cluster = clusterAt(10, 10)
  const history = wrote(at(T1, 5n), { reads: at(T1, 8n) })
  expect(fenceOf(history, 'read-your-writes', cluster)).toEqual({ kind: 'at', lineage: T1, offset: 5n })
  expect(fenceOf(history, 'monotonic-reads', cluster)).toEqual({ kind: 'at', lineage: T1, offset: 8n })
  const onlyRead = { ...EMPTY_HISTORY, reads: at(T1, 8n) }
  expect(fenceOf(onlyRead, 'read-your-writes', cluster)).toEqual({ kind: 'none' })
  expect(fenceOf(onlyRead, 'monotonic-reads', cluster)).toEqual({ kind: 'at', lineage: T1, offset: 8n })
})

test('an uncertain session needs the primary, whatever else it knows', () => {
  expect(fenceOf(UNCERTAIN_HISTORY, 'read-your-writes', clusterAt(10, 10))).toEqual({ kind: 'primary' })
  expect(fenceOf(wrote(at(T1, 5n), { uncertain: true }), 'read-your-writes', clusterAt(10, 10))).toEqual({
    kind: 'primary',
    position: at(T1, 5n),
  })
})

test('a position of another history is possibly lost: it is not compared as a number', () => {
  const position = at(T2, 1n)
  const fence = fenceOf(wrote(position), 'read-your-writes', clusterAt(10, 10))
  expect(fence).toEqual({ kind: 'possibly-lost', position, verdict: 'unknown' })
})

test('a position in two histories is possibly lost, also when one of them is the present one', () => {
  const fence = fenceOf(wrote(at(T1, 1n).join(at(T2, 1n))), 'read-your-writes', clusterAt(10, 10))
  expect(fence).toEqual({ kind: 'possibly-lost', position: at(T2, 1n), verdict: 'unknown' })
})

test('an uncertain session with a position of another history is told of the loss as well', () => {
  const position = at(T2, 1n)
  const fence = fenceOf(wrote(position, { uncertain: true }), 'read-your-writes', clusterAt(10, 10))
  expect(fence).toEqual({ kind: 'possibly-lost', position, verdict: 'unknown' })
})

test('while no primary has been seen, the history of the token is taken for the only one', () => {
  const cluster = newCluster(1)
  cluster.observe(cluster.node('r1'), answer('replica', 10, 0))
  expect(fenceOf(wrote(at(T1, 5n)), 'read-your-writes', cluster)).toEqual({ kind: 'at', lineage: T1, offset: 5n })
})

describe('a position of an older history', () => {
  /** Promoted: history 2 goes on from 1, exactly at 80. The old primary is gone. */
  function promoted(exact = true) {
    const cluster = clusterAt(100, 80, 50)
    cluster.lose(cluster.node('p'), { reason: 'cut' })
    cluster.observe(cluster.node('r1'), answer('primary', 200, 1, { epoch: 2 }))
    if (exact) cluster.learnAncestry(T2, [{ lineage: T1, includedUpTo: 80n, exact: true }], true)
    return cluster
  }
  const fence = (history: History, cluster = promoted(), scopes?: readonly number[]) =>
    fenceOf(history, 'read-your-writes', cluster, scopes)

  test('that is preserved is asked for in the terms of the present one', () => {
    expect(fence(wrote(at(T1, 80n)))).toEqual({ kind: 'at', lineage: T2, offset: 80n })
    expect(fence(wrote(at(T1, 70n).join(at(T2, 120n))))).toEqual({ kind: 'at', lineage: T2, offset: 120n })
    // By what this router saw itself, too.
    expect(fence(wrote(at(T1, 80n)), promoted(false))).toEqual({ kind: 'at', lineage: T2, offset: 80n })
    expect(fence(wrote(at(T1, 80n), { uncertain: true }))).toEqual({ kind: 'primary', position: at(T2, 80n) })
  })

  test('that is not is told, with the verdict; what is certain before what is not', () => {
    expect(fence(wrote(at(T1, 81n)))).toEqual({ kind: 'possibly-lost', position: at(T1, 81n), verdict: 'possibly-lost' })
    expect(fence(wrote(at(T1, 81n)), promoted(false))).toMatchObject({ kind: 'possibly-lost', verdict: 'unknown' })
    expect(fence(wrote(at('8/1', 5n)))).toMatchObject({ kind: 'possibly-lost', verdict: 'foreign' })
    expect(fence(wrote(at('8/1', 5n).join(at(T1, 81n))))).toMatchObject({ verdict: 'possibly-lost' })
    expect(fence(wrote(at('8/1', 5n).join(at(T1, 81n))), promoted(false))).toMatchObject({ verdict: 'foreign' })
    // What is preserved is not among what may be lost.
    const both = wrote(at('8/1', 5n).join(at(T1, 70n)))
    expect(fence(both)).toEqual({ kind: 'possibly-lost', position: at('8/1', 5n), verdict: 'foreign' })
  })

  test('that a read under way was fenced by is judged when the history is left, also of an uncertain session', () => {
    const before = clusterAt(100, 80, 50)
    for (const uncertain of [false, true]) {
      const fenceThen = (offset: bigint) => fence(wrote(at(T1, offset), { uncertain }), before)
      expect([fenceThen(80n), fenceThen(81n)].map(each => isLeftMeanwhile(each, before))).toEqual([false, false])
      expect([fenceThen(80n), fenceThen(81n)].map(each => isLeftMeanwhile(each, promoted()))).toEqual([false, true])
    }
  })

  test('counts only for reads of its scope', () => {
    const history = { ...EMPTY_HISTORY, marks: new Map([[1, at(T1, 81n)]]) }
    expect(fence(history, promoted(), [1])).toMatchObject({ kind: 'possibly-lost' })
    expect(fence(history)).toMatchObject({ kind: 'possibly-lost' })
    expect(fence(history, promoted(), [2])).toEqual({ kind: 'none' })
  })
})

describe('a position of a later history than this router has heard of', () => {
  test('is asked for as it is while no primary can be used: a node that follows it may serve', () => {
    const cluster = clusterAt(100, 100)
    cluster.lose(cluster.node('p'), { reason: 'cut' })
    expect(fenceOf(wrote(at(T2, 5n)), 'read-your-writes', cluster)).toEqual({ kind: 'at', lineage: T2, offset: 5n })
    // Of another system it is not later, but foreign.
    expect(fenceOf(wrote(at('8/2', 5n)), 'read-your-writes', cluster)).toMatchObject({ verdict: 'foreign' })
  })

  test('is not known to be preserved while the older primary goes on', () => {
    expect(fenceOf(wrote(at(T2, 5n)), 'read-your-writes', clusterAt(100, 100))).toMatchObject({ kind: 'possibly-lost' })
  })
})
