import { expect, test } from 'vitest'
import { memoryCacheStore } from '../../src/core/cache-store.js'
import { ConfigurationError } from '../../src/core/errors.js'
import { memoryTokenStore } from '../../src/core/token-store.js'
import { describeCacheStore } from './cache-store-contract.js'
import { describeTokenStore } from './token-store-contract.js'

describeTokenStore('memoryTokenStore', { open: async options => memoryTokenStore(options) })

describeCacheStore('memoryCacheStore', {
  async open() {
    const store = memoryCacheStore()
    return [store, store]
  },
})

test('the cache store is bounded: the least recently used is forgotten', async () => {
  const store = memoryCacheStore({ maxEntries: 2 })
  for (const key of ['a', 'b']) await store.compareAndSet(key, undefined, 'x', 1_000)
  await store.get('a')
  await store.compareAndSet('c', undefined, 'x', 1_000)
  expect(await Promise.all(['a', 'b', 'c'].map(key => store.get(key)))).toEqual(['x', undefined, 'x'])
})

test('an entry of the cache store ends exactly at its time', async () => {
  let now = 1_000
  const store = memoryCacheStore({ now: () => now })
  await store.compareAndSet('a', undefined, 'x', 500)
  now += 500
  expect(await store.get('a')).toBe('x')
  now += 1
  expect(await store.get('a')).toBeUndefined()
})

test.each([0, -1, 1.5, Number.NaN])('a bound of %s is refused', bound => {
  expect(() => memoryCacheStore({ maxEntries: bound })).toThrow(ConfigurationError)
  expect(() => memoryTokenStore({ maxUsers: bound })).toThrow(ConfigurationError)
})
