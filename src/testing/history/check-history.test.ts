import fc from 'fast-check'
import { expect, test } from 'vitest'
import { naiveCheck } from '../../../test/support/naive-checker.js'
import { checkHistory } from './check-history.js'
import type { HistoryRecord, OperationRecord, WrittenValue } from './record.js'
import type { Violation } from './report.js'
import { RULE_NAMES } from './rules.js'

const KEYS = ['x', 'y']
const anything = fc.nat({ max: 1_000 })
const guarantee = fc.option(fc.constantFrom('eventual', 'read-your-writes', 'monotonic-reads', 'monotonic-reads'), {
  nil: undefined,
})

const draft = fc.record({
  session: fc.constantFrom('ada', 'ada', 'bob'),
  start: fc.nat({ max: 24 }),
  lasts: fc.constantFrom(0, 1, 1, 2, 5),
  status: fc.constantFrom('ok', 'ok', 'ok', 'ok', 'failed', 'unknown'),
  answered: fc.boolean(),
  reads: fc.array(fc.tuple(fc.constantFrom(...KEYS), anything), { maxLength: 3 }),
  writes: fc.array(fc.tuple(fc.constantFrom(...KEYS), anything), { maxLength: 3 }),
  asked: guarantee,
  achieved: guarantee,
  mayDegrade: fc.boolean(),
  reportsLoss: fc.constantFrom(true, false, false),
  fromOwnCache: fc.constantFrom(true, false, false),
  deadlineMs: fc.option(fc.constantFrom(0, 2, 10), { nil: undefined }),
})

interface Wild {
  readonly ops: readonly (typeof draft extends fc.Arbitrary<infer T> ? T : never)[]
  readonly versions: readonly (readonly [number, number])[]
  readonly finals: readonly (readonly [string, number] | undefined)[]
}

/** Any history at all that does not contradict itself: whatever was read, replaced, lost, reported. Dense, so that much goes wrong. */
const wild = fc
  .record<Wild>({
    ops: fc.array(draft, { maxLength: 14 }),
    versions: fc.array(fc.tuple(anything, anything), { maxLength: 3 }),
    finals: fc.tuple(...KEYS.map(key => fc.option(fc.tuple(fc.constant(key), anything), { nil: undefined }))),
  })
  .map(historyOf)

function historyOf({ ops, versions, finals }: Wild): HistoryRecord[] {
  const values: Record<string, string[]> = { x: [], y: [] }
  // What was replaced was there before, so there are no circles.
  const written = ops.map(({ writes }) =>
    writes.map(([key, choice]): WrittenValue => {
      const others = values[key]!
      const prev = [undefined, null, ...others, ...others, ...others, `${key}?`][choice % (others.length * 3 + 3)]
      const value = `${key}${others.length + 1}`
      others.push(value)
      return prev === undefined ? [key, value] : [key, value, prev]
    }),
  )
  const oneOf = (key: string, choice: number) => {
    const values_ = [null, ...values[key]!, ...values[key]!, `${key}?`, `${key}!`, 'x1']
    return values_[choice % values_.length]!
  }
  const records = ops.map(({ lasts, answered, reads, ...rest }, index): OperationRecord => {
    const ended = rest.status === 'ok' || answered ? { end: rest.start + lasts } : {}
    const read = { reads: reads.map(([key, choice]) => [key, oneOf(key, choice)] as const) }
    const op = { type: 'op', id: index + 1, ...rest, ...ended, ...read, writes: written[index]! }
    return Object.fromEntries(Object.entries(op).filter(([, value]) => value !== undefined)) as unknown as OperationRecord
  })
  const declared = new Map(
    versions.flatMap(([choice, other]): [string, HistoryRecord][] => {
      const all = written.flat()
      const write = all[choice % (all.length + 2)]
      if (write === undefined) return [['x?', { type: 'version', key: 'x', value: 'x?', prev: null }]]
      const [key, value, prev] = write
      const earlier = [null, ...values[key]!.slice(0, values[key]!.indexOf(value))]
      return [[value, { type: 'version', key, value, prev: prev === undefined ? earlier[other % earlier.length]! : prev }]]
    }),
  )
  const ends = finals.flatMap((final): HistoryRecord[] =>
    final === undefined ? [] : [{ type: 'final', key: final[0], value: oneOf(...final) }],
  )
  return [...records, ...declared.values(), ...ends]
}

const EVERYTHING = { maxViolationsPerRule: Number.POSITIVE_INFINITY }

function nameOf({ rule, key, records: [atFault] }: Violation): string {
  const id = atFault!.type === 'op' ? atFault!.id : 'gauge'
  return `${rule}: ${id}${key === undefined ? '' : ` ${key}`}`
}

test('agrees with the naive checker on histories of any kind', async () => {
  const seen = new Map<string, number>()
  await fc.assert(
    fc.asyncProperty(wild, async records => {
      const report = await checkHistory(records, EVERYTHING)
      const cases = naiveCheck(records)
      for (const rule of RULE_NAMES) {
        const count = (answer: string) => cases.filter(each => each.rule === rule && each.answer === answer).length
        const { violations, undecided, checked } = report.rules[rule]
        const ours = { violations, undecided, holds: checked - violations - undecided }
        expect({ rule, ...ours }).toEqual({
          rule,
          violations: count('violated'),
          undecided: count('undecided'),
          holds: count('holds'),
        })
        for (const answer of ['violated', 'undecided', 'holds']) {
          seen.set(`${rule} ${answer}`, (seen.get(`${rule} ${answer}`) ?? 0) + count(answer))
        }
      }
      const violated = cases.filter(({ answer }) => answer === 'violated').map(({ rule, about }) => `${rule}: ${about}`)
      const named = report.violations.map(nameOf)
      expect(named.sort()).toEqual(violated.sort())
    }),
    { numRuns: Number(process.env.RUNS ?? 1_500) },
  )
  // It was about something.
  const possible = RULE_NAMES.filter(rule => rule !== 'bounds-kept').flatMap(rule => [`${rule} violated`, `${rule} holds`])
  expect(possible.filter(each => !seen.get(each))).toEqual([])
  for (const rule of ['read-your-writes', 'monotonic-reads', 'monotonic-writes', 'writes-follow-reads', 'atomic-visibility']) {
    expect(seen.get(`${rule} undecided`)).toBeGreaterThan(0)
  }
})

test('a counterexample shows its violation, and no longer without any one of its records', async () => {
  await fc.assert(
    fc.asyncProperty(wild, async records => {
      const { violations } = await checkHistory(records, EVERYTHING)
      for (const violation of violations) {
        const { counterexample } = violation
        const shows = async (some: readonly HistoryRecord[]) =>
          (await checkHistory(some, EVERYTHING)).violations.map(nameOf).includes(nameOf(violation))
        expect(await shows(counterexample)).toBe(true)
        for (const one of counterexample) expect(await shows(counterexample.filter(other => other !== one))).toBe(false)
      }
    }),
    { numRuns: Number(process.env.RUNS ?? 200) },
  )
})
