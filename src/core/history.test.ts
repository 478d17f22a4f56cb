import fc from 'fast-check'
import { expect, test } from 'vitest'
import { EMPTY_HISTORY, type History, joinHistories, sameHistory, UNCERTAIN_HISTORY } from './history.js'
import { Position } from './position.js'

const position = fc
  .array(fc.record({ lineage: fc.constantFrom('a', 'b'), offset: fc.bigInt(0n, 3n) }), { maxLength: 3 })
  .map(entries => Position.of(entries))
const history: fc.Arbitrary<History> = fc.record({ writes: position, reads: position, uncertain: fc.boolean() })

test('the join of histories is commutative, associative and idempotent', () => {
  fc.assert(
    fc.property(history, history, history, (a, b, c) => {
      expect(sameHistory(joinHistories(a, b), joinHistories(b, a))).toBe(true)
      expect(sameHistory(joinHistories(joinHistories(a, b), c), joinHistories(a, joinHistories(b, c)))).toBe(true)
      expect(sameHistory(joinHistories(a, a), a)).toBe(true)
      expect(sameHistory(joinHistories(a, { ...a }), a)).toBe(true)
    }),
  )
})

test('the join includes both, and keeps writes and reads apart', () => {
  fc.assert(
    fc.property(history, history, (a, b) => {
      const joined = joinHistories(a, b)
      expect(joined.writes.compare(a.writes.join(b.writes))).toBe('equal')
      expect(joined.reads.compare(a.reads.join(b.reads))).toBe('equal')
      expect(joined.uncertain).toBe(a.uncertain || b.uncertain)
    }),
  )
})

test('the empty history adds nothing; the uncertain one adds its doubt and nothing else', () => {
  fc.assert(
    fc.property(history, a => {
      expect(sameHistory(joinHistories(a, EMPTY_HISTORY), a)).toBe(true)
      expect(sameHistory(joinHistories(UNCERTAIN_HISTORY, a), { ...a, uncertain: true })).toBe(true)
    }),
  )
  expect(EMPTY_HISTORY.uncertain).toBe(false)
  expect(sameHistory(EMPTY_HISTORY, UNCERTAIN_HISTORY)).toBe(false)
})

test('histories are the same exactly when nothing in them differs', () => {
  const base: History = { writes: Position.at('a', 1n), reads: Position.at('a', 2n), uncertain: false }
  expect(sameHistory(base, { writes: Position.at('a', 1n), reads: Position.at('a', 2n), uncertain: false })).toBe(true)
  expect(sameHistory(base, { ...base, uncertain: true })).toBe(false)
  expect(sameHistory(base, { ...base, writes: Position.at('a', 2n) })).toBe(false)
  expect(sameHistory(base, { ...base, reads: Position.at('b', 2n) })).toBe(false)
})
