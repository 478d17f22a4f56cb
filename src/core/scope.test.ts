import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { SECRET, T1, T2 } from '../../test/core/kit.js'
import { allWrites, EMPTY_HISTORY, type History, joinHistories, mapHistory, neededBy, sameHistory } from './history.js'
import { Position } from './position.js'
import { boundMarks, joinMarks, MAX_MARKS, type Marks, sameMarks, scopeId, scopeIds } from './scope.js'
import { TokenCodec } from './token/codec.js'
import { MAX_TOKEN_LENGTH } from './token/layout.js'
import { VirtualClock } from './virtual-clock.js'

const codec = new TokenCodec({ secret: SECRET, clock: new VirtualClock() })
const at = (offset: number | bigint, lineage = T1) => Position.at(lineage, BigInt(offset))
const marksOf = (marks: Record<string, Position>): Marks =>
  new Map(Object.entries(marks).map(([scope, mark]) => [scopeId(scope), mark]))
const needed = (history: History, scope?: string | readonly string[]) => neededBy(history, 'read-your-writes', scopeIds(scope))

/** One write, as it was really made. */
interface Written {
  readonly scopes: readonly string[] | undefined
  readonly position: Position
}

/** A session: what it carries, and the whole truth. */
interface Author {
  history: History
  truth: readonly Written[]
}

const SCOPES = Array.from({ length: 14 }, (_, i) => `profile:${i}`)

function write(author: Author, scopes: readonly string[] | undefined, position: Position): void {
  const own =
    scopes === undefined
      ? { ...EMPTY_HISTORY, writes: position }
      : { ...EMPTY_HISTORY, marks: new Map(scopes.map(scope => [scopeId(scope), position])) }
  author.history = joinHistories(author.history, own)
  author.truth = [...author.truth, { scopes, position }]
}

const author = fc.nat({ max: 1 })
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      author,
      scopes: fc.option(fc.uniqueArray(fc.constantFrom(...SCOPES), { minLength: 1, maxLength: 3 }), { nil: undefined, freq: 12 }),
      lineage: fc.constantFrom(T1, T1, T1, T2),
      offset: fc.bigInt(1n, 2n ** 64n - 1n),
    }),
  },
  fc.record({ kind: fc.constant('carry' as const), author }),
  fc.record({ kind: fc.constant('merge' as const), author }),
  fc.record({ kind: fc.constant('map' as const), author }),
)

describe('soundness', () => {
  test('whatever is written, joined, folded and carried: a read waits for the last write of its scope, and of none for all', () => {
    let [folded, separate] = [0, 0]
    fc.assert(
      fc.property(fc.array(step, { minLength: 5, maxLength: 40 }), steps => {
        const authors: Author[] = [
          { history: EMPTY_HISTORY, truth: [] },
          { history: EMPTY_HISTORY, truth: [] },
        ]
        for (const each of steps) {
          const own = authors[each.author]!
          if (each.kind === 'write') write(own, each.scopes, at(each.offset, each.lineage))
          else if (each.kind === 'map') own.history = mapHistory(own.history, position => position)
          else if (each.kind === 'carry') {
            const bound = { boundTo: each.author === 0 ? 'ann' : undefined }
            const token = codec.encode(own.history, bound)
            expect(token.length).toBeLessThanOrEqual(MAX_TOKEN_LENGTH)
            own.history = codec.decode(token, bound)
          } else {
            const other = authors[1 - each.author]!
            own.history = joinHistories(own.history, other.history)
            own.truth = [...own.truth, ...other.truth]
          }
          expect(own.history.marks?.size ?? 0).toBeLessThanOrEqual(MAX_MARKS)
          for (const scope of SCOPES) {
            const waitsFor = needed(own.history, scope)
            for (const { scopes, position } of own.truth) {
              if (scopes === undefined || scopes.includes(scope)) expect(waitsFor.includes(position)).toBe(true)
            }
            if (!waitsFor.includes(allWrites(own.history))) separate++
          }
          for (const { position } of own.truth) expect(needed(own.history).includes(position)).toBe(true)
          // Nor does anything appear that nobody wrote.
          expect(Position.of(own.truth.flatMap(({ position }) => position.entries)).includes(allWrites(own.history))).toBe(true)
        }
        const scopes = new Set(authors[0]!.truth.flatMap(written => written.scopes ?? []))
        if (scopes.size > MAX_MARKS) folded++
      }),
      { numRuns: 300 },
    )
    // Not all of it was folding, and not none.
    expect([folded > 10, separate > 1_000]).toEqual([true, true])
  })

  test('up to eight scopes hold back exactly their own reads, also after a token', () => {
    const writes = fc.array(fc.record({ scope: fc.nat({ max: MAX_MARKS - 1 }), offset: fc.integer({ min: 1, max: 1_000 }) }), {
      maxLength: 30,
    })
    fc.assert(
      fc.property(writes, fc.boolean(), (all, carried) => {
        const own: Author = { history: EMPTY_HISTORY, truth: [] }
        for (const { scope, offset } of all) write(own, [SCOPES[scope]!], at(offset))
        const history = carried ? codec.decode(codec.encode(own.history)) : own.history
        for (const [index, scope] of SCOPES.entries()) {
          const last = Math.max(0, ...all.filter(each => each.scope === index).map(({ offset }) => offset))
          expect(needed(history, scope).toString()).toBe(last === 0 ? 'zero' : at(last).toString())
        }
      }),
    )
  })

  test('a name that collides shares the mark: it waits for more, never for less', () => {
    // Two names of one hash, as the smallest search finds them.
    const seen = new Map<number, string>()
    let pair: [string, string] | undefined
    for (let i = 0; pair === undefined; i++) {
      const name = `k${i}`
      const other = seen.get(scopeId(name))
      if (other !== undefined) pair = [other, name]
      seen.set(scopeId(name), name)
    }
    const own: Author = { history: EMPTY_HISTORY, truth: [] }
    write(own, [pair[0]], at(5))
    write(own, [pair[1]], at(3))
    for (const name of pair) expect(needed(own.history, name).toString()).toBe(at(5).toString())
  })

  test('a write without a scope holds back every scope; a later one makes older marks superfluous', () => {
    const own: Author = { history: EMPTY_HISTORY, truth: [] }
    write(own, ['a'], at(5))
    write(own, undefined, at(4))
    expect([needed(own.history, 'a'), needed(own.history, 'b'), needed(own.history)].map(String)).toEqual(
      [at(5), at(4), at(5)].map(String),
    )
    write(own, undefined, at(6))
    expect(own.history.marks).toBeUndefined()
    expect(needed(own.history, 'b').toString()).toBe(at(6).toString())
  })

  test('a read of several scopes waits for all of them; monotonic reads wait for what was read, whatever the scope', () => {
    const own: Author = { history: { ...EMPTY_HISTORY, reads: at(90) }, truth: [] }
    write(own, ['a'], at(5))
    write(own, ['b'], at(7))
    expect(needed(own.history, ['a', 'b', 'c']).toString()).toBe(at(7).toString())
    expect(neededBy(own.history, 'monotonic-reads', scopeIds('c')).toString()).toBe(at(90).toString())
    expect(needed(own.history, 'c').isZero).toBe(true)
  })
})

describe('marks', () => {
  const position = fc
    .array(fc.record({ lineage: fc.constantFrom('a', 'b'), offset: fc.bigInt(0n, 5n) }), { minLength: 1, maxLength: 3 })
    .map(entries => Position.of(entries))
  const marks: fc.Arbitrary<Marks> = fc
    .array(fc.tuple(fc.nat({ max: 3 }), position), { maxLength: 4 })
    .map(entries => new Map(entries))

  test('their join is commutative, associative and idempotent', () => {
    fc.assert(
      fc.property(marks, marks, marks, (a, b, c) => {
        expect(sameMarks(joinMarks(a, b), joinMarks(b, a))).toBe(true)
        expect(sameMarks(joinMarks(joinMarks(a, b), c), joinMarks(a, joinMarks(b, c)))).toBe(true)
        expect(sameMarks(joinMarks(a, a), a)).toBe(true)
      }),
    )
  })

  test('so is that of histories within the bound, in all that reads ask of them', () => {
    const history: fc.Arbitrary<History> = fc
      .record({ writes: position, marks, reads: position, uncertain: fc.boolean() })
      .map(({ writes, marks: all, ...rest }) => ({ ...rest, ...boundMarks(writes, all) }))
    const asked = (each: History) =>
      [undefined, [0], [1], [2], [3]].map(scopes => neededBy(each, 'read-your-writes', scopes).toString())
    fc.assert(
      fc.property(history, history, history, (a, b, c) => {
        expect(sameHistory(joinHistories(a, b), joinHistories(b, a))).toBe(true)
        expect(sameHistory(joinHistories(a, { ...a }), a)).toBe(true)
        expect(asked(joinHistories(joinHistories(a, b), c))).toEqual(asked(joinHistories(a, joinHistories(b, c))))
      }),
    )
  })

  test('the oldest fold first', () => {
    const many = marksOf(Object.fromEntries(SCOPES.slice(0, 10).map((scope, i) => [scope, at(100 - i)])))
    const { writes, marks: left } = boundMarks(Position.zero, many)
    expect(writes.toString()).toBe(at(92).toString())
    expect([...left!.keys()].sort()).toEqual(SCOPES.slice(0, 8).map(scopeId).sort())
  })

  test('differ when one mark does', () => {
    expect(sameMarks(marksOf({ a: at(1) }), marksOf({ a: at(2) }))).toBe(false)
    expect(sameMarks(marksOf({ a: at(1) }), marksOf({ b: at(1) }))).toBe(false)
    expect(sameMarks(undefined, marksOf({ a: at(1) }))).toBe(false)
    expect(sameMarks(undefined, new Map())).toBe(true)
  })
})
