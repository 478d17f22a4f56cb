import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Ordering, Position } from './position.js'

const MAX = 2n ** 64n - 1n
/** Few lineages and offsets, so that every ordering comes up often. */
const small = fc
  .array(fc.record({ lineage: fc.constantFrom('a', 'b', 'c'), offset: fc.bigInt(0n, 3n) }), { maxLength: 4 })
  .map(entries => Position.of(entries))
const wide = fc
  .array(
    fc.record({
      lineage: fc.constantFrom('7/1', '7/2', 'eu', 'ü'),
      offset: fc.oneof(fc.bigInt(0n, MAX), fc.constantFrom(0n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 63n - 1n, 2n ** 63n, MAX)),
    }),
    { maxLength: 5 },
  )
  .map(entries => Position.of(entries))
const position = fc.oneof(small, wide)
const check = fc.assert

const INVERSE: Record<Ordering, Ordering> = { before: 'after', after: 'before', equal: 'equal', incomparable: 'incomparable' }
const same = (a: Position, b: Position) => a.compare(b) === 'equal'
const contents = (p: Position) => new Map(p.entries.map(e => [e.lineage, e.offset]))

describe('the order', () => {
  test('is reflexive, antisymmetric and transitive', () => {
    const seen = new Set<Ordering>()
    check(
      fc.property(small, small, small, (a, b, c) => {
        seen.add(a.compare(b))
        expect(a.compare(a)).toBe('equal')
        if (a.includes(b) && b.includes(a)) expect(contents(a)).toEqual(contents(b))
        if (a.includes(b) && b.includes(c)) expect(a.includes(c)).toBe(true)
      }),
      { numRuns: 2_000 },
    )
    expect(seen).toEqual(new Set(['before', 'equal', 'after', 'incomparable']))
  })

  test('is pointwise: it agrees with comparing lineage by lineage', () => {
    check(
      fc.property(position, position, (a, b) => {
        const mine = contents(a)
        expect(a.includes(b)).toBe([...contents(b)].every(([lineage, offset]) => (mine.get(lineage) ?? -1n) >= offset))
      }),
    )
  })

  test('compare agrees with includes, and turns around with its operands', () => {
    check(
      fc.property(position, position, (a, b) => {
        const ordering = a.compare(b)
        expect(a.includes(b)).toBe(ordering === 'equal' || ordering === 'after')
        expect(b.includes(a)).toBe(ordering === 'equal' || ordering === 'before')
        expect(b.compare(a)).toBe(INVERSE[ordering])
      }),
    )
  })

  test('zero is at the bottom', () => {
    check(fc.property(position, a => a.includes(Position.zero) && same(a.join(Position.zero), a)))
    expect(Position.zero.isZero).toBe(true)
    expect(Position.zero.toString()).toBe('zero')
  })

  test('an entry at offset 0 is more than none: it names a history', () => {
    expect(Position.at('a', 0n).compare(Position.zero)).toBe('after')
  })

  test('positions of different lineages are incomparable, whatever the numbers', () => {
    expect(Position.at('7/1', 1n).compare(Position.at('7/2', MAX))).toBe('incomparable')
    expect(Position.at('7/2', MAX).includes(Position.at('7/1', 1n))).toBe(false)
  })
})

describe('the join', () => {
  test('is commutative, associative and idempotent', () => {
    check(
      fc.property(position, position, position, (a, b, c) => {
        expect(same(a.join(b), b.join(a))).toBe(true)
        expect(same(a.join(b).join(c), a.join(b.join(c)))).toBe(true)
        expect(same(a.join(a), a)).toBe(true)
      }),
    )
  })

  test('is the least upper bound', () => {
    let upperBounds = 0
    check(
      fc.property(small, small, small, (a, b, bound) => {
        const joined = a.join(b)
        expect(joined.includes(a) && joined.includes(b)).toBe(true)
        if (!(bound.includes(a) && bound.includes(b))) return
        upperBounds++
        expect(bound.includes(joined)).toBe(true)
      }),
      { numRuns: 2_000 },
    )
    expect(upperBounds).toBeGreaterThan(50)
  })

  test('is an operand exactly when that one includes the other', () => {
    check(
      fc.property(position, position, (a, b) => {
        expect(same(a.join(b), a)).toBe(a.includes(b))
      }),
    )
  })

  test('keeps entries sorted, one a lineage, and its operands as they were', () => {
    check(
      fc.property(position, position, (a, b) => {
        const before = [a.toString(), b.toString()]
        const lineages = a.join(b).entries.map(e => e.lineage)
        expect(lineages).toEqual([...new Set(lineages)].sort())
        expect([a.toString(), b.toString()]).toEqual(before)
      }),
    )
  })
})

describe('64 bits', () => {
  test('neighbours are told apart all the way up, where a double or a signed integer would not', () => {
    check(
      fc.property(fc.bigInt(2n ** 53n, MAX - 1n), offset => {
        const [low, high] = [Position.at('a', offset), Position.at('a', offset + 1n)]
        expect(low.compare(high)).toBe('before')
        expect(low.join(high).offsetIn('a')).toBe(offset + 1n)
      }),
    )
    expect(Position.at('a', 2n ** 63n).compare(Position.at('a', 2n ** 63n - 1n))).toBe('after')
  })

  test('what does not fit is a RangeError', () => {
    expect(Position.at('a', MAX).offsetIn('a')).toBe(MAX)
    for (const offset of [-1n, MAX + 1n]) {
      expect(() => Position.at('a', offset)).toThrow(RangeError)
      expect(() => Position.of([{ lineage: 'a', offset }])).toThrow(RangeError)
    }
  })

  test('is written for people without loss', () => {
    expect(
      Position.of([
        { lineage: 'b', offset: MAX },
        { lineage: 'a', offset: 1n },
      ]).toString(),
    ).toBe('a@1 + b@18446744073709551615')
    expect(Position.at('a', 5n).offsetIn('b')).toBeUndefined()
  })
})

describe('what several share', () => {
  test('for one it is the join, for all the greatest lower bound', () => {
    let lowerBounds = 0
    check(
      fc.property(fc.array(small, { minLength: 1, maxLength: 4 }), small, (positions, bound) => {
        expect(
          same(
            Position.sharedBy(1, positions),
            positions.reduce((a, b) => a.join(b)),
          ),
        ).toBe(true)
        const met = Position.sharedBy(positions.length, positions)
        expect(positions.every(each => each.includes(met))).toBe(true)
        if (!positions.every(each => each.includes(bound))) return
        lowerBounds++
        expect(met.includes(bound)).toBe(true)
      }),
      { numRuns: 2_000 },
    )
    expect(lowerBounds).toBeGreaterThan(50)
  })

  test('each entry of it is included by as many, and nothing further on is', () => {
    check(
      fc.property(fc.array(small, { minLength: 1, maxLength: 4 }), fc.nat(3), (positions, n) => {
        const count = (n % positions.length) + 1
        const shared = Position.sharedBy(count, positions)
        for (const lineage of ['a', 'b', 'c']) {
          const having = (offset: bigint) => positions.filter(each => each.includes(Position.at(lineage, offset))).length
          const offset = shared.offsetIn(lineage)
          if (offset !== undefined) expect(having(offset)).toBeGreaterThanOrEqual(count)
          expect(having((offset ?? -1n) + 1n)).toBeLessThan(count)
        }
      }),
      { numRuns: 1_000 },
    )
  })

  test('a count that cannot be is refused', () => {
    for (const count of [0, 2, 1.5]) expect(() => Position.sharedBy(count, [Position.zero])).toThrow(RangeError)
  })
})
