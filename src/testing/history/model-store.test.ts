import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Fault, KEYS, play, SESSIONS, type Step } from '../../../test/support/model-store.js'
import { checkHistory } from './check-history.js'
import { RULE_NAMES, type RuleName } from './rules.js'

const step = fc.record<Step>({
  action: fc.constantFrom('write', 'write', 'read', 'read', 'snapshot', 'apply', 'apply', 'fail over'),
  session: fc.nat({ max: SESSIONS.length - 1 }),
  key: fc.nat({ max: KEYS.length - 1 }),
  replica: fc.nat({ max: 1 }),
  count: fc.nat({ max: 6 }),
  unlucky: fc.boolean(),
})
const steps = fc.array(step, { minLength: 20, maxLength: 60 })
const RUNS = { numRuns: Number(process.env.RUNS ?? 500) }

test('a store that keeps its promises breaks no rule, through failovers and lost answers, and nothing is undecided', async () => {
  const checked = new Map<RuleName, number>()
  let told = 0
  await fc.assert(
    fc.asyncProperty(steps, async some => {
      const { rules, violations, lostWrites } = await checkHistory(play(some))
      expect(violations).toEqual([])
      expect(RULE_NAMES.filter(rule => rules[rule].undecided > 0)).toEqual([])
      for (const rule of RULE_NAMES) checked.set(rule, (checked.get(rule) ?? 0) + rules[rule].checked)
      told += lostWrites.reported
    }),
    RUNS,
  )
  expect(told).toBeGreaterThan(0)
  const judged = RULE_NAMES.filter(rule => rule !== 'bounds-kept' && rule !== 'own-cache-isolated')
  expect(judged.filter(rule => !checked.get(rule))).toEqual([])
})

const faults = RULE_NAMES.filter((rule): rule is Fault => rule !== 'bounds-kept')

test.each(faults)('a store that breaks %s is blamed for that, and for nothing else', async fault => {
  // Who is not told of a loss and looks again lacks a write, so that breaks both promises.
  const blamed: readonly RuleName[] = fault === 'lost-writes-reported' ? ['read-your-writes', 'monotonic-reads', fault] : [fault]
  let histories = 0
  await fc.assert(
    fc.asyncProperty(steps, async some => {
      const { rules } = await checkHistory(play(some, fault), { maxViolationsPerRule: 0 })
      const broken = RULE_NAMES.filter(rule => rules[rule].violations > 0)
      expect(broken.filter(rule => !blamed.includes(rule))).toEqual([])
      if (broken.includes(fault)) histories++
    }),
    RUNS,
  )
  // It was about something.
  expect(histories).toBeGreaterThan(0)
})
