import type { HistoryRecord } from './record.js'
import { RULE_NAMES, type RuleName } from './rules.js'

/** A violation, and what its counterexample may need besides the records that it is about. */
export interface Finding {
  readonly rule: RuleName
  readonly message: string
  readonly session?: string
  readonly key?: string
  readonly records: readonly HistoryRecord[]
  readonly context: readonly HistoryRecord[]
}

export interface Tally {
  checked: number
  violations: number
  undecided: number
}

/** Counts what the rules find, and keeps the first findings of each. */
export class Findings {
  readonly tallies: Record<RuleName, Tally>
  readonly kept: Finding[] = []
  readonly #rules: ReadonlySet<RuleName>
  readonly #maxPerRule: number

  constructor(rules: Iterable<RuleName>, maxPerRule: number) {
    this.#rules = new Set(rules)
    this.#maxPerRule = maxPerRule
    const none = () => ({ checked: 0, violations: 0, undecided: 0 })
    this.tallies = Object.fromEntries(RULE_NAMES.map(rule => [rule, none()])) as Record<RuleName, Tally>
  }

  judges(rule: RuleName): boolean {
    return this.#rules.has(rule)
  }

  holds(rule: RuleName): void {
    if (this.judges(rule)) this.tallies[rule].checked++
  }

  undecided(rule: RuleName): void {
    if (!this.judges(rule)) return
    this.tallies[rule].checked++
    this.tallies[rule].undecided++
  }

  /** `describe` is called only when the finding is kept. */
  violated(rule: RuleName, describe: () => Omit<Finding, 'rule'>): void {
    if (!this.judges(rule)) return
    const tally = this.tallies[rule]
    tally.checked++
    tally.violations++
    if (tally.violations <= this.#maxPerRule) this.kept.push({ rule, ...describe() })
  }
}
