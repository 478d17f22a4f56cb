import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Position } from './position.js'
import { memoryTokenStore } from './token-store.js'

const position = fc
  .array(fc.record({ lineage: fc.constantFrom('a', 'b'), offset: fc.bigInt(0n, 9n) }), { minLength: 1, maxLength: 2 })
  .map(entries => Position.of(entries))

test('raise is a join: the order of calls does not matter, and it never goes back', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(position, { minLength: 1 }), async raised => {
      const store = memoryTokenStore({ maxUsers: 10 })
      let all = Position.zero
      for (const each of raised) {
        await store.raise('ann', each)
        all = all.join(each)
        expect((await store.get('ann'))?.compare(all)).toBe('equal')
      }
    }),
  )
})

test('users are apart, and of one that never wrote nothing is known', async () => {
  const store = memoryTokenStore()
  await store.raise('ann', Position.at('a', 1n))
  expect(await store.get('bob')).toBeUndefined()
  expect((await store.get('ann'))?.offsetIn('a')).toBe(1n)
})

test('it is bounded: the least recently used is forgotten', async () => {
  const store = memoryTokenStore({ maxUsers: 2 })
  for (const user of ['ann', 'bob']) await store.raise(user, Position.at('a', 1n))
  await store.get('ann')
  await store.raise('cid', Position.at('a', 1n))
  const known = await Promise.all(['ann', 'bob', 'cid'].map(user => store.get(user)))
  expect(known.map(each => each !== undefined)).toEqual([true, false, true])
})
