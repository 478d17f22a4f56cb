import { expect, test } from 'vitest'
import { checkHistory } from '../../testing/history/check-history.js'
import { isUnheard } from './exclusions.js'
import { judgeOwnCaches, Violations } from './own-rules.js'
import { type Noted, recordOf } from './recorder.js'

const BASE = { session: 'ada', user: 'ada', device: 'ada-1', asked: 'read-your-writes' } as const
/** Written by another; she reads it, the response is lost, and her cache serves it. */
const WRITTEN: Noted = {
  ...BASE,
  id: 1,
  session: 'bob',
  user: 'bob',
  start: 0,
  end: 1,
  status: 'ok',
  writes: [['k', 'k.1', null]],
}
const UNHEARD: Noted = { ...BASE, id: 2, start: 2, status: 'failed', unheard: [['k', 'k.1']] }
const CACHED: Noted = { ...BASE, id: 3, start: 4, end: 5, status: 'ok', reads: [['k', 'k.1']], fromOwnCache: true }

function rulesBroken(operations: readonly Noted[]): readonly string[] {
  const violations = new Violations()
  judgeOwnCaches(operations, violations)
  return violations.all.map(({ rule }) => rule)
}

test('an own cache may show what a response has shown that was lost on its way', () => {
  expect(rulesBroken([WRITTEN, UNHEARD, CACHED])).toEqual([])
})

test('and nothing that nobody but others has written or read', () => {
  expect(rulesBroken([WRITTEN, CACHED])).toEqual(['own-cache-of-its-author'])
  expect(rulesBroken([WRITTEN, { ...UNHEARD, user: 'bob' }, CACHED])).toEqual(['own-cache-of-its-author'])
  expect(rulesBroken([WRITTEN, { ...UNHEARD, start: 6 }, CACHED])).toEqual(['own-cache-of-its-author'])
})

test('of which the history knows nothing, so that the checker is not believed there, and is elsewhere', async () => {
  const isExcused = async (operations: readonly Noted[]) => {
    const { violations } = await checkHistory([
      ...operations.map(noted => recordOf(noted, true)),
      { type: 'version', key: 'k', value: 'k.1', prev: null },
      { type: 'final', key: 'k', value: 'k.1' },
    ])
    expect(violations.map(({ rule }) => rule)).toEqual(['own-cache-isolated'])
    return isUnheard(violations[0]!, operations)
  }
  expect(await isExcused([WRITTEN, UNHEARD, CACHED])).toBe(true)
  expect(await isExcused([WRITTEN, CACHED])).toBe(false)
  expect(await isExcused([WRITTEN, { ...UNHEARD, session: 'bob', user: 'bob' }, CACHED])).toBe(false)
  expect(await isExcused([WRITTEN, { ...UNHEARD, start: 6 }, CACHED])).toBe(false)
})
