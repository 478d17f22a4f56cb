import { describe, expect, test } from 'vitest'
import { T1, T2 } from '../../test/core/kit.js'
import { Position } from './position.js'
import { type CacheEntry, SessionCaches } from './session-cache.js'

const at = (offset: number, lineage = T1) => Position.at(lineage, BigInt(offset))
const entry = (n: number, position = at(n)): CacheEntry => ({ rows: [{ n }], position, storedAt: 0 })
const shown = (caches: SessionCaches, author: string | object, key: string) => caches.get(author, key)?.rows[0]?.n

/** A load that ends when told. */
function gate() {
  let open!: (value: string) => void
  let fail!: (error: Error) => void
  const ended = new Promise<string>((resolve, reject) => {
    open = resolve
    fail = reject
  })
  let loads = 0
  return {
    get loads() {
      return loads
    },
    open,
    fail,
    load: () => {
      loads++
      return ended
    },
  }
}

describe('isolation', () => {
  test('the same key of two authors is two values, whether users or anonymous sessions', () => {
    const caches = new SessionCaches()
    const [one, other] = [{}, {}]
    caches.put('user ann', 'profile', entry(1))
    caches.put('user bob', 'profile', entry(2))
    caches.put(one, 'profile', entry(3))
    expect([shown(caches, 'user ann', 'profile'), shown(caches, 'user bob', 'profile')]).toEqual([1, 2])
    expect([shown(caches, one, 'profile'), shown(caches, other, 'profile')]).toEqual([3, undefined])
    caches.delete('user ann', 'profile')
    expect([shown(caches, 'user ann', 'profile'), shown(caches, 'user bob', 'profile')]).toEqual([undefined, 2])
  })

  test('a load of one author is not joined by another', async () => {
    const caches = new SessionCaches()
    const [ann, bob] = [gate(), gate()]
    const answers = [
      caches.loadOnce('user ann', 'profile', at(1), ann.load),
      caches.loadOnce('user bob', 'profile', at(1), bob.load),
    ]
    ann.open('of ann')
    bob.open('of bob')
    expect(await Promise.all(answers)).toEqual(['of ann', 'of bob'])
  })
})

describe('bounds', () => {
  test('of one author: the least recently used value goes', () => {
    const caches = new SessionCaches({ maxEntries: 2 })
    for (const key of ['a', 'b']) caches.put('user ann', key, entry(1))
    caches.get('user ann', 'a')
    caches.put('user ann', 'c', entry(1))
    expect(['a', 'b', 'c'].map(key => shown(caches, 'user ann', key))).toEqual([1, undefined, 1])
  })

  test('of authors: the least recently used goes, with all its values', () => {
    const caches = new SessionCaches({ maxSessions: 2 })
    for (const author of ['ann', 'bob']) caches.put(author, 'a', entry(1))
    caches.get('ann', 'a')
    caches.put('eve', 'a', entry(1))
    expect(['ann', 'bob', 'eve'].map(author => shown(caches, author, 'a'))).toEqual([1, undefined, 1])
  })
})

describe('put keeps the later one', () => {
  test('in whichever order they come', () => {
    for (const [first, second] of [
      [1, 2],
      [2, 1],
    ] as const) {
      const caches = new SessionCaches()
      caches.put('ann', 'a', entry(first))
      caches.put('ann', 'a', entry(second))
      expect(shown(caches, 'ann', 'a')).toBe(2)
    }
  })

  test('neither, when nothing tells which is later', () => {
    const caches = new SessionCaches()
    caches.put('ann', 'a', entry(1, at(9, T1)))
    caches.put('ann', 'a', entry(2, at(5, T2)))
    expect(shown(caches, 'ann', 'a')).toBeUndefined()
  })
})

describe('one load for many', () => {
  test('who needs no more than the load under way joins it', async () => {
    const caches = new SessionCaches()
    const gated = gate()
    const all = [5, 5, 3, 0].map(offset => caches.loadOnce('ann', 'a', offset ? at(offset) : Position.zero, gated.load))
    expect(gated.loads).toBe(1)
    gated.open('value')
    expect(await Promise.all(all)).toEqual(['value', 'value', 'value', 'value'])
  })

  test('who needs more begins another, which later ones join; the older one does not end it', async () => {
    const caches = new SessionCaches()
    const [old, newer] = [gate(), gate()]
    const first = caches.loadOnce('ann', 'a', at(5), old.load)
    const second = caches.loadOnce('ann', 'a', at(6), newer.load)
    expect([old.loads, newer.loads]).toEqual([1, 1])
    old.open('old')
    expect(await first).toBe('old')
    const third = caches.loadOnce('ann', 'a', at(6), newer.load)
    expect(newer.loads).toBe(1)
    newer.open('new')
    expect(await Promise.all([second, third])).toEqual(['new', 'new'])
  })

  test('another key is another load, and one that has ended, well or not, is not joined', async () => {
    const caches = new SessionCaches()
    const [a, b, again] = [gate(), gate(), gate()]
    const failed = caches.loadOnce('ann', 'a', at(5), a.load)
    void caches.loadOnce('ann', 'b', at(5), b.load)
    expect(b.loads).toBe(1)
    a.fail(new Error('cut'))
    await expect(failed).rejects.toThrow('cut')
    void caches.loadOnce('ann', 'a', at(5), again.load)
    expect(again.loads).toBe(1)
  })
})
