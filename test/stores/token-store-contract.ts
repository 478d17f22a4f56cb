/** What every token store promises (`TokenStore`), as tests. */
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { Position } from '../../src/core/position.js'
import type { TokenStore } from '../../src/core/token-store.js'

export interface StoreOptions {
  readonly maxUsers?: number
  readonly retainMs?: number
}

/** What the contract needs of one kind of store. */
export interface TokenStoreKind {
  /** An empty store that shares nothing with the others, and as many handles on it as there are processes in the story. */
  open(options?: StoreOptions): Promise<TokenStore | readonly [TokenStore, TokenStore]>
  /** A store whose server is gone; `undefined` where there is no such thing. */
  readonly openBroken?: () => Promise<TokenStore>
}

const OLD = '7000000000000000001/1'
const NEW = '7000000000000000001/2'
/** Beyond 2^53: a store that keeps numbers as doubles loses the last bits. */
const FAR = 0xffff_ffff_ffff_0000n
const DAY_MS = 86_400_000

const HOSTILE = [
  '',
  '\0',
  'a\0b',
  'a',
  ':',
  'a:b',
  '{a}',
  "'; DROP TABLE tidemark_positions; --",
  '__proto__',
  'user:',
  '\u00e9',
  'e\u0301',
  '\ud800',
  '\ud801',
  '\ufffd',
  'x'.repeat(10_000),
  `${'x'.repeat(9_999)}y`,
]

const offset = fc.oneof(fc.bigInt(0n, 20n), fc.bigInt(FAR, FAR + 20n))
const position = fc
  .array(fc.record({ lineage: fc.constantFrom(OLD, NEW), offset }), { minLength: 1, maxLength: 2 })
  .map(entries => Position.of(entries))

export function describeTokenStore(name: string, kind: TokenStoreKind): void {
  const both = async (options?: StoreOptions) => {
    const opened = await kind.open(options)
    return 'get' in opened ? ([opened, opened] as const) : opened
  }
  const open = async (options?: StoreOptions) => (await both(options))[0]

  describe(name, () => {
    describe('what is kept of a user', () => {
      let stores: readonly [TokenStore, TokenStore]
      let users = 0
      const newUser = () => `user ${users++}`
      beforeAll(async () => {
        stores = await both()
      })

      test('of one that was never raised, nothing is known', async () => {
        expect(await stores[0].get(newUser())).toBeUndefined()
      })

      test('raising nothing tells nothing', async () => {
        const user = newUser()
        await stores[0].raise(user, Position.zero)
        expect(await stores[0].get(user)).toBeUndefined()
      })

      test('is the join: in any order, with repetitions, from two processes at once', async () => {
        await fc.assert(
          fc.asyncProperty(fc.array(position, { minLength: 1, maxLength: 6 }), async raised => {
            const user = newUser()
            await Promise.all([...raised, ...raised].map((each, i) => stores[i % 2 === 0 ? 0 : 1].raise(user, each)))
            expect(await stores[1].get(user)).toEqual(joinAll(raised))
          }),
          { numRuns: 30 },
        )
      })

      test('is the maximum of 50 concurrent raises with two lineages', async () => {
        const user = newUser()
        const raised = fc.sample(position, 50)
        await Promise.all(raised.map((each, i) => stores[i % 2 === 0 ? 0 : 1].raise(user, each)))
        expect(await stores[0].get(user)).toEqual(joinAll(raised))
      })

      test('never goes back, whatever is raised later', async () => {
        const user = newUser()
        const raised = fc.sample(position, 20)
        for (const [i, each] of raised.entries()) {
          await stores[0].raise(user, each)
          expect(await stores[1].get(user)).toEqual(joinAll(raised.slice(0, i + 1)))
        }
      })

      test('keeps all 64 bits', async () => {
        const user = newUser()
        await stores[0].raise(user, Position.at(OLD, 0xffff_ffff_ffff_fffen))
        expect((await stores[0].get(user))?.offsetIn(OLD)).toBe(0xffff_ffff_ffff_fffen)
        await stores[0].raise(user, Position.at(OLD, 0xffff_ffff_ffff_ffffn))
        expect((await stores[0].get(user))?.offsetIn(OLD)).toBe(0xffff_ffff_ffff_ffffn)
      })

      test('loses what is settled in the step that raises', async () => {
        const user = newUser()
        await stores[0].raise(user, Position.at(OLD, FAR))
        await stores[1].raise(user, Position.at(NEW, 3n), Position.at(OLD, FAR))
        expect(await stores[0].get(user)).toEqual(Position.at(NEW, 3n))
      })

      test('keeps what is beyond the settled position, and what is of other lineages', async () => {
        const user = newUser()
        await stores[0].raise(user, Position.at(OLD, FAR + 1n).join(Position.at(NEW, 5n)))
        await stores[0].raise(user, Position.at(NEW, 3n), Position.at(OLD, FAR))
        expect(await stores[0].get(user)).toEqual(Position.at(OLD, FAR + 1n).join(Position.at(NEW, 5n)))
      })

      test('when all of it is settled, nothing is known any more', async () => {
        const user = newUser()
        await stores[0].raise(user, Position.at(OLD, 7n))
        await stores[0].raise(user, Position.zero, Position.at(OLD, 7n))
        expect(await stores[0].get(user)).toBeUndefined()
      })

      test('is (kept without settled) joined with raised, also where they overlap', async () => {
        await fc.assert(
          fc.asyncProperty(position, position, position, async (kept, raised, settled) => {
            const user = newUser()
            await stores[0].raise(user, kept)
            await stores[0].raise(user, raised, settled)
            expect(await stores[0].get(user)).toEqual(kept.without(settled).join(raised))
          }),
          { numRuns: 30 },
        )
      })

      test('a concurrent settling drops nothing but what is settled', async () => {
        const user = newUser()
        await stores[0].raise(user, Position.at(OLD, 9n))
        const raised = Array.from({ length: 20 }, (_, i) => Position.at(NEW, BigInt(i)))
        await Promise.all(raised.map((each, i) => stores[i % 2 === 0 ? 0 : 1].raise(user, each, Position.at(OLD, 9n))))
        expect(await stores[0].get(user)).toEqual(Position.at(NEW, 19n))
      })

      test('users are apart, whatever their names', async () => {
        const known = (i: number) => Position.at(OLD, FAR + BigInt(i))
        for (const user of HOSTILE) expect(await stores[0].get(user)).toBeUndefined()
        await Promise.all(HOSTILE.map((user, i) => stores[0].raise(user, known(i))))
        const found = await Promise.all(HOSTILE.map(user => stores[1].get(user)))
        expect(found).toEqual(HOSTILE.map((_, i) => known(i)))
      })
    })

    describe('expire', () => {
      test('forgets the users of whom every replica has applied everything, and no other', async () => {
        const store = await open({ retainMs: 0 })
        const positions = {
          applied: Position.at(OLD, FAR),
          beyond: Position.at(OLD, FAR + 1n),
          elsewhere: Position.at(NEW, 1n),
          partly: Position.at(OLD, 1n).join(Position.at(NEW, 1n)),
        }
        for (const [user, each] of Object.entries(positions)) await store.raise(user, each)
        // Control: with nothing applied, nothing is forgotten.
        await store.expire?.(Position.zero)
        expect(await store.get('applied')).toEqual(positions.applied)
        await store.expire?.(Position.at(OLD, FAR))
        const kept = await Promise.all(Object.keys(positions).map(user => store.get(user)))
        expect(kept).toEqual([undefined, positions.beyond, positions.elsewhere, positions.partly])
        await store.expire?.(Position.at(OLD, FAR + 1n).join(Position.at(NEW, 1n)))
        expect(await Promise.all(Object.keys(positions).map(user => store.get(user)))).toEqual(Array(4).fill(undefined))
      })

      test('keeps what was touched lately', async () => {
        const store = await open({ retainMs: DAY_MS })
        await store.raise('ann', Position.at(OLD, 1n))
        await store.expire?.(Position.at(OLD, 9n))
        expect(await store.get('ann')).toEqual(Position.at(OLD, 1n))
      })

      test('gets through to what is out of date behind what is not, a piece a call', async () => {
        const store = await open({ retainMs: 0 })
        // More than one piece (1,000) that is never applied, in front.
        for (let i = 0; i < 1_100; i += 100) {
          await Promise.all(Array.from({ length: 100 }, (_, j) => store.raise(`old ${i + j}`, Position.at(OLD, 1n))))
        }
        await store.raise('ann', Position.at(NEW, 1n))
        for (let call = 0; call < 3; call++) await store.expire?.(Position.at(NEW, 9n))
        expect(await store.get('ann')).toBeUndefined()
        expect(await store.get('old 0')).toEqual(Position.at(OLD, 1n))
      })

      test('while it is raised, a user is never left with less than was raised last', async () => {
        const [store, other] = await both({ retainMs: 0 })
        for (let i = 1n; i <= 40n; i++) {
          await Promise.all([store.raise('ann', Position.at(OLD, i)), other.expire?.(Position.at(OLD, i - 1n))])
          expect(await store.get('ann')).toEqual(Position.at(OLD, i))
        }
      })
    })

    test('it is bounded: those touched longest ago are forgotten as a whole', async () => {
      const store = await open({ maxUsers: 3, retainMs: 0 })
      const both = Position.at(OLD, 1n).join(Position.at(NEW, 1n))
      const users = ['ann', 'bob', 'cid', 'dan', 'eve']
      for (const user of users) await store.raise(user, both)
      await store.raise('ann', both)
      await store.expire?.(Position.zero)
      const kept = await Promise.all(users.map(user => store.get(user)))
      expect(kept.filter(each => each !== undefined)).toEqual([both, both, both])
      expect(kept[4]).toEqual(both)
      expect(kept[1]).toBeUndefined()
    })

    const { openBroken } = kind
    test.skipIf(openBroken === undefined)('without its server it rejects, and does not hang', async () => {
      const store = await openBroken!()
      const calls = [store.get('ann'), store.raise('ann', Position.at(OLD, 1n)), store.expire?.(Position.zero)]
      const results = await Promise.allSettled(calls)
      expect(results.map(each => each.status)).toEqual(['rejected', 'rejected', 'rejected'])
    })
  })
}

function joinAll(positions: readonly Position[]): Position {
  return positions.reduce((all, each) => all.join(each), Position.zero)
}
