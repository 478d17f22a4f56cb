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
  readonly kept: Finding[] = []
  readonly lostWrites = { total: 0, reported: 0, unreported: 0 }
  readonly #tallies = Object.fromEntries(RULE_NAMES.map(rule => [rule, nothing()])) as Record<RuleName, Tally>
  readonly #rules: ReadonlySet<RuleName>
  readonly #maxPerRule: number

  /** What other rules find is not kept, and not told by `tally`. */
  constructor(rules: Iterable<RuleName>, maxPerRule: number) {
    this.#rules = new Set(rules)
    this.#maxPerRule = maxPerRule
  }

  tally(rule: RuleName): Tally {
    return this.#rules.has(rule) ? this.#tallies[rule] : nothing()
  }

  holds(rule: RuleName): void {
    this.#tallies[rule].checked++
  }

  undecided(rule: RuleName): void {
    const tally = this.#tallies[rule]
    tally.checked++
    tally.undecided++
  }

  /** `describe` is called only when the finding is kept. */
  violated(rule: RuleName, describe: () => Omit<Finding, 'rule'>): void {
    const tally = this.#tallies[rule]
    tally.checked++
    tally.violations++
    if (tally.violations <= this.#maxPerRule && this.#rules.has(rule)) this.kept.push({ rule, ...describe() })
  }
}

function nothing(): Tally {
  return { checked: 0, violations: 0, undecided: 0 }
}
