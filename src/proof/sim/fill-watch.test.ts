import { expect, test } from 'vitest'
import type { Tombstone } from './exclusions.js'
import { FillWatch } from './fill-watch.js'
import { Violations } from './own-rules.js'
import { Truth } from './truth.js'

const [OLD, NEW] = ['k@db-1.1', 'k@db-2.2']
/** What every peer has in the end: the one that left has come back, and with it its write. */
const TRUTH = new Truth(
  [
    { type: 'version', key: OLD, value: 'k.1', prev: null },
    { type: 'version', key: NEW, value: 'k.2', prev: null },
  ],
  [
    { type: 'final', key: OLD, value: 'k.1' },
    { type: 'final', key: NEW, value: 'k.2' },
  ],
  new Map(),
)
const NOTHING = new Map<string, string>()
const HAS_OLD = new Map([[OLD, 'k.1']])
const TOMBSTONE = JSON.stringify({ at: [] })
const WITHOUT_OLD = JSON.stringify({
  at: [],
  value: [
    [OLD, null],
    [NEW, 'k.2'],
  ],
})

/** k.1 is invalidated, then k.2, and each time the router knows of some peers; then a value without k.1 enters. */
async function rulesBroken(first: Tombstone | undefined, second: Tombstone | undefined): Promise<readonly string[]> {
  let peers = first
  const watch = new FillWatch()
  const store = watch.watch({ get: async () => undefined, compareAndSet: async () => true }, () => peers)
  const set = (text: string) => store.compareAndSet('k', undefined, text, 1_000)
  await set(TOMBSTONE)
  watch.invalidated('k', [[OLD, 'k.1', null]])
  peers = second
  await set(TOMBSTONE)
  watch.invalidated('k', [[NEW, 'k.2', null]])
  peers = [NOTHING]
  await set(WITHOUT_OLD)
  const violations = new Violations()
  watch.judge(TRUTH, violations)
  return violations.all.map(({ rule }) => rule)
}

test('a fill without a write that was invalidated before it breaks the rule', async () => {
  expect(await rulesBroken(undefined, undefined)).toEqual(['fills-stay-behind'])
})

test('not when nobody had that write any more as the key was invalidated again', async () => {
  expect(await rulesBroken(undefined, [NOTHING, NOTHING])).toEqual([])
})

test('but when somebody had it, or had lost it only before it was invalidated itself', async () => {
  expect(await rulesBroken(undefined, [NOTHING, HAS_OLD])).toEqual(['fills-stay-behind'])
  expect(await rulesBroken([NOTHING], [HAS_OLD])).toEqual(['fills-stay-behind'])
  expect(await rulesBroken([NOTHING], undefined)).toEqual(['fills-stay-behind'])
})
