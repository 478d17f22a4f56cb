import { smallestCounterexample } from './counterexample.js'
import { type Finding, Findings, type Tally } from './findings.js'
import { History } from './history.js'
import { Isolation, judgeDeclarations } from './isolation.js'
import { judgeBounds, judgeLostWrites, judgePromises } from './promises.js'
import type { HistoryRecord } from './record.js'
import type { HistoryReport, RuleReport, Violation } from './report.js'
import { RULE_NAMES, type RuleName } from './rules.js'
import { judgeSessionGuarantees } from './session-guarantees.js'
import { judgeSnapshot } from './snapshots.js'

export interface CheckOptions {
  /** Which rules to judge by. Default: all. */
  readonly rules?: readonly RuleName[]
  /** How many violations of each rule to describe; all are counted. Default 5. */
  readonly maxViolationsPerRule?: number
}

export const CHECK_DEFAULTS = Object.freeze({ maxViolationsPerRule: 5 })

/**
 * Judges a history: which session guarantees (Terry et al. 1994) and which promises it keeps. It knows nothing of how the answers
 * came about, only what was asked, what was answered, and when. Time and memory grow with the length of the history.
 *
 * A violation that it names is certain. What it cannot see, docs/checker.md says; what it could not decide is counted.
 *
 * Throws `HistoryError` when the history contradicts itself: an id or a value of a key that is there twice, versions in a circle.
 */
export async function checkHistory(
  records: Iterable<HistoryRecord> | AsyncIterable<HistoryRecord>,
  options: CheckOptions = {},
): Promise<HistoryReport> {
  const history = new History()
  if (Symbol.iterator in records) for (const record of records) history.add(record)
  else for await (const record of records) history.add(record)
  return report(history, options)
}

function report(
  history: History,
  { rules = RULE_NAMES, maxViolationsPerRule = CHECK_DEFAULTS.maxViolationsPerRule }: CheckOptions,
): HistoryReport {
  const findings = judge(history, new Findings(rules, maxViolationsPerRule))
  const violationCount = RULE_NAMES.reduce((sum, rule) => sum + findings.tally(rule).violations, 0)
  return {
    ok: violationCount === 0,
    counts: { ...history.counts.get(), sessions: history.sessions.size, keys: history.keys.size },
    lostWrites: findings.lostWrites,
    rules: Object.fromEntries(RULE_NAMES.map(rule => [rule, verdictOf(findings.tally(rule))])) as HistoryReport['rules'],
    violationCount,
    violations: findings.kept.map(violationOf),
  }
}

function judge(history: History, findings: Findings): Findings {
  history.build(operation => judgeSessionGuarantees(operation, findings))
  const isolation = new Isolation(history)
  // In one pass: with millions of operations, to fetch one from memory costs more than to judge it.
  for (const operation of history.operations) {
    judgePromises(operation, history, findings)
    if (!operation.acknowledged) continue
    judgeSnapshot(operation, findings)
    isolation.judge(operation, findings)
    judgeLostWrites(operation, findings)
  }
  judgeDeclarations(history, findings)
  judgeBounds(history, findings)
  return findings
}

function verdictOf({ checked, violations, undecided }: Tally): RuleReport {
  const verdict = violations > 0 ? 'violated' : undecided > 0 ? 'not-decidable' : 'holds'
  return { verdict, checked, violations, undecided }
}

function violationOf(finding: Finding): Violation {
  const { context: _, ...described } = finding
  return { ...described, counterexample: smallestCounterexample(finding, records => shows(records, finding)) }
}

function shows(records: readonly HistoryRecord[], { rule, key, records: [atFault] }: Finding): boolean {
  const history = new History()
  for (const record of records) history.add(record)
  const { kept } = judge(history, new Findings([rule], Number.POSITIVE_INFINITY))
  return kept.some(other => other.records[0] === atFault && other.key === key)
}
