import { expect, test } from 'vitest'
import { answer, clusterAt, newCluster, T1, T2 } from '../../test/core/kit.js'
import { fenceOf } from './fence.js'
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
  expect(fenceOf(wrote(at(T1, 5n), { uncertain: true }), 'read-your-writes', clusterAt(10, 10))).toEqual({ kind: 'primary' })
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
