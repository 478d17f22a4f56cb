/** What every cache store promises (`CacheStore`), as tests. */
import { beforeAll, describe, expect, test } from 'vitest'
import type { CacheStore } from '../../src/core/cache-store.js'
import { ConfigurationError } from '../../src/core/errors.js'
import { until } from '../support/database.js'

export interface CacheStoreKind {
  /** Two handles on one store, as two processes would have. */
  open(): Promise<readonly [CacheStore, CacheStore]>
  readonly openBroken?: () => Promise<CacheStore>
}

const HOUR_MS = 3_600_000

export function describeCacheStore(name: string, kind: CacheStoreKind): void {
  describe(name, () => {
    let store: CacheStore
    let other: CacheStore
    let keys = 0
    const newKey = () => `key ${keys++}`
    beforeAll(async () => {
      ;[store, other] = await kind.open()
    })

    test('what was never set is not there', async () => {
      expect(await store.get(newKey())).toBeUndefined()
    })

    test('sets where nothing is if nothing is expected, and not otherwise', async () => {
      const key = newKey()
      expect(await store.compareAndSet(key, 'x', 'a', HOUR_MS)).toBe(false)
      expect(await store.compareAndSet(key, '', 'a', HOUR_MS)).toBe(false)
      expect(await store.get(key)).toBeUndefined()
      expect(await store.compareAndSet(key, undefined, 'a', HOUR_MS)).toBe(true)
      expect(await store.compareAndSet(key, undefined, 'b', HOUR_MS)).toBe(false)
      expect(await other.get(key)).toBe('a')
    })

    test('replaces what is expected, and nothing else', async () => {
      const key = newKey()
      await store.compareAndSet(key, undefined, 'a', HOUR_MS)
      expect(await other.compareAndSet(key, 'x', 'b', HOUR_MS)).toBe(false)
      expect(await store.get(key)).toBe('a')
      expect(await other.compareAndSet(key, 'a', 'b', HOUR_MS)).toBe(true)
      expect(await store.get(key)).toBe('b')
    })

    test('takes any key and value', async () => {
      const texts = ['', '\0', ':', '{x}', '0', '1', 'é', 'x'.repeat(10_000)]
      for (const [i, text] of texts.entries()) {
        expect(await store.compareAndSet(text, undefined, `${text}${i}`, HOUR_MS)).toBe(true)
        expect(await store.compareAndSet(text, `${text}${i}`, text, HOUR_MS)).toBe(true)
      }
      for (const text of texts) expect(await other.get(text)).toBe(text)
      // The empty value is a value.
      expect(await store.compareAndSet('', undefined, 'x', HOUR_MS)).toBe(false)
      expect(await store.compareAndSet('', '', 'x', HOUR_MS)).toBe(true)
    })

    test.each([undefined, 'before'])('of 50 concurrent calls that expect %s, exactly one wins', async before => {
      const key = newKey()
      if (before !== undefined) await store.compareAndSet(key, undefined, before, HOUR_MS)
      const calls = Array.from({ length: 50 }, (_, i) =>
        (i % 2 === 0 ? store : other).compareAndSet(key, before, `${i}`, HOUR_MS),
      )
      const won = (await Promise.all(calls)).flatMap((set, i) => (set ? [`${i}`] : []))
      expect(won).toHaveLength(1)
      expect(await store.get(key)).toBe(won[0])
    })

    test('none of 50 concurrent increments is lost', async () => {
      const key = newKey()
      const increment = async (through: CacheStore) => {
        for (;;) {
          const now = await through.get(key)
          if (await through.compareAndSet(key, now, String(Number(now ?? 0) + 1), HOUR_MS)) return
        }
      }
      await Promise.all(Array.from({ length: 50 }, (_, i) => increment(i % 2 === 0 ? store : other)))
      expect(await store.get(key)).toBe('50')
    })

    test('an entry is gone after its time, and can then be set as if it had never been', async () => {
      const key = newKey()
      await store.compareAndSet(key, undefined, 'a', 30)
      await store.compareAndSet(`${key} stays`, undefined, 'a', HOUR_MS)
      await until(async () => (await store.get(key)) === undefined, 'the entry expires')
      expect(await store.get(`${key} stays`)).toBe('a')
      expect(await store.compareAndSet(key, 'a', 'b', HOUR_MS)).toBe(false)
      expect(await store.compareAndSet(key, undefined, 'b', HOUR_MS)).toBe(true)
    })

    test('setting begins a new time', async () => {
      const key = newKey()
      await store.compareAndSet(key, undefined, 'a', HOUR_MS)
      await store.compareAndSet(key, 'a', 'b', 30)
      await until(async () => (await store.get(key)) === undefined, 'the entry expires')
      await store.compareAndSet(key, undefined, 'a', 0.1)
      await until(async () => (await store.get(key)) === undefined, 'the entry expires')
    })

    test.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY])('refuses a time to live of %s', async ttlMs => {
      await expect(store.compareAndSet(newKey(), undefined, 'a', ttlMs)).rejects.toThrow(ConfigurationError)
    })

    const { openBroken } = kind
    test.skipIf(openBroken === undefined)('without its server it rejects, and does not hang', async () => {
      const broken = await openBroken!()
      const results = await Promise.allSettled([broken.get('a'), broken.compareAndSet('a', undefined, 'b', HOUR_MS)])
      expect(results.map(each => each.status)).toEqual(['rejected', 'rejected'])
    })
  })
}
