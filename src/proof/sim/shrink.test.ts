import { describe, expect, test } from 'vitest'
import { formatIndices, parseIndices } from './index-list.js'
import { shrink } from './shrink.js'

const never = { stop: () => false }
const hundred = Array.from({ length: 100 }, (_, i) => i)

describe('shrink', () => {
  test.each([{ needed: [37] }, { needed: [0, 99] }, { needed: [3, 4, 50, 97] }, { needed: hundred }])(
    'finds exactly what is needed: $needed.length of 100',
    async ({ needed }) => {
      const fails = async (items: readonly number[]) => needed.every(each => items.includes(each))
      expect(await shrink(hundred, fails, never)).toEqual(needed)
    },
  )

  test('what comes out has been seen to fail, also when it depends on what else is there', async () => {
    const seen: string[] = []
    // Fails with an even number of items, the 10 among them: not monotonic.
    const fails = async (items: readonly number[]) => {
      const failed = items.includes(10) && items.length % 2 === 0
      if (failed) seen.push(items.join())
      return failed
    }
    const result = await shrink(hundred, fails, never)
    expect(result).toContain(10)
    expect(result.length).toBeLessThan(100)
    expect(seen.at(-1)).toBe(result.join())
  })

  test('ends when it is told to, with the smallest found so far', async () => {
    let trials = 0
    const fails = async (items: readonly number[]) => {
      trials++
      return items.includes(37)
    }
    const result = await shrink(hundred, fails, { stop: () => trials >= 3 })
    expect(trials).toBe(3)
    expect(result).toContain(37)
    expect(result.length).toBeLessThan(100)
    expect(result.length).toBeGreaterThan(1)
  })
})

describe('lists of indices', () => {
  test.each([
    { indices: [5], text: '5' },
    { indices: [0, 1, 2, 7, 9, 10], text: '0-2,7,9-10' },
  ])('$text', ({ indices, text }) => {
    expect(formatIndices(indices)).toBe(text)
    expect(parseIndices(text, 10)).toEqual(indices)
  })

  test.each(['', 'x', '3-1', '11', '1,,2', '-1', '1-', '0-99999999999'])('refuses %j', text => {
    expect(parseIndices(text, 10)).toBeUndefined()
  })
})
