import fc from 'fast-check'
import { expect, test } from 'vitest'
import { RecentMap } from './recent-map.js'

/** The same, in the plainest way: the least recently used first. */
class Model {
  entries: [string, number][] = []
  evicted = 0
  get(key: string): number | undefined {
    const value = this.peek(key)
    if (value !== undefined) this.set(key, value)
    return value
  }
  peek(key: string): number | undefined {
    return this.entries.find(([known]) => known === key)?.[1]
  }
  set(key: string, value: number): void {
    this.delete(key)
    const all = [...this.entries, [key, value] as [string, number]]
    this.entries = all.slice(-3)
    this.evicted += all.length - this.entries.length
  }
  delete(key: string): void {
    this.entries = this.entries.filter(([known]) => known !== key)
  }
}

test('holds what was used last, and no more than it may', () => {
  const step = fc.record({ method: fc.constantFrom('get', 'peek', 'set', 'delete'), key: fc.constantFrom(...'abcdef') })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), steps => {
      let evicted = 0
      const [map, model] = [new RecentMap<string, number>(3, () => evicted++), new Model()]
      steps.forEach(({ method, key }, i) => {
        if (method === 'set') for (const each of [map, model]) each.set(key, i)
        else expect(map[method as 'get'](key)).toBe(model[method as 'get'](key))
        expect([...map.entries()]).toEqual(model.entries)
        expect([map.size, evicted]).toEqual([model.entries.length, model.evicted])
      })
    }),
  )
})
