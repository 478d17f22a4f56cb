import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { VersionRecord } from '../../testing/history/record.js'
import { Truth } from './truth.js'

/** A tree of versions: each replaces one that was there before, or nothing. */
const trees = fc.array(fc.nat(), { minLength: 1, maxLength: 20 }).map(choices =>
  choices.map((choice, i): VersionRecord => {
    const replaced = choice % (i + 1)
    return { type: 'version', key: 'k', value: `v${i}`, prev: replaced === i ? null : `v${replaced}` }
  }),
)

it('says by ancestors what a version includes, whether it is kept in the end or of a branch that was left', () => {
  fc.assert(
    fc.property(trees, fc.nat(), (versions, last) => {
      const values = versions.map(({ value }) => value)
      const final = [null, ...values][last % (values.length + 1)]!
      const truth = new Truth(versions, [{ type: 'final', key: 'k', value: final }], new Map())
      const ancestors = (value: string | null): string[] =>
        value === null ? [] : [value, ...ancestors(versions.find(each => each.value === value)!.prev)]
      for (const value of values) {
        expect(truth.isKept('k', value)).toBe(ancestors(final).includes(value))
        expect(truth.isKept('other', value)).toBe(false)
        for (const shown of [null, ...values]) expect(truth.includes('k', shown, value)).toBe(ancestors(shown).includes(value))
      }
    }),
  )
})
