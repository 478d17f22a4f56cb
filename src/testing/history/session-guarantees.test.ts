import { describe, expect, test } from 'vitest'
import { Script } from '../../../test/support/histories.js'
import { checkHistory } from './check-history.js'
import type { RuleName } from './rules.js'

/** The rules that a history breaks. */
async function broken({ records }: Script): Promise<RuleName[]> {
  const { violations } = await checkHistory(records)
  return [...new Set(violations.map(({ rule }) => rule))]
}

async function undecided({ records }: Script): Promise<RuleName[]> {
  const { rules } = await checkHistory(records)
  return (Object.keys(rules) as RuleName[]).filter(rule => rules[rule].verdict === 'not-decidable')
}

describe('read your writes', () => {
  test('after changing a password one logs in with the new one (Terry et al. 1994, section 3.1)', async () => {
    const good = new Script()
    good.write('ada', 'password', 'old', null)
    good.write('ada', 'password', 'new', 'old')
    good.read('ada', 'password', 'new')
    expect(await broken(good)).toEqual([])
    const bad = new Script()
    bad.write('ada', 'password', 'old', null)
    bad.write('ada', 'password', 'new', 'old')
    bad.read('ada', 'password', 'old')
    expect(await broken(bad)).toEqual(['read-your-writes'])
  })
})
