import type { HistoryRecord } from './record.js'
import type { RuleName } from './rules.js'

/** One case in which a rule was broken. */
export interface Violation {
  readonly rule: RuleName
  /** What happened and why that breaks the rule, in one sentence. */
  readonly message: string
  readonly session?: string
  readonly key?: string
  /** The records that the message is about; the one at fault is first. */
  readonly records: readonly HistoryRecord[]
  /**
   * The few records that show the violation by themselves, in the history's order: `checkHistory` finds it in them, and no
   * longer when any one is taken away.
   */
  readonly counterexample: readonly HistoryRecord[]
}

/** `not-decidable`: never seen broken, but for some cases the history does not say enough. */
export type Verdict = 'holds' | 'violated' | 'not-decidable'

export interface RuleReport {
  readonly verdict: Verdict
  /** How many cases there were to judge. 0: `holds` means nothing. */
  readonly checked: number
  readonly violations: number
  readonly undecided: number
}

export interface LostWrites {
  /** Acknowledged writes that the final value of their key does not include. */
  readonly total: number
  /** Their session was told. */
  readonly reported: number
  /** Their session read the key again, saw what survived, and was never told. */
  readonly unreported: number
}

export interface HistoryCounts {
  readonly operations: number
  readonly ok: number
  readonly failed: number
  readonly unknown: number
  /** Operations that read, or wrote, something. */
  readonly reads: number
  readonly writes: number
  readonly sessions: number
  readonly keys: number
  /** Operations by `path`. */
  readonly paths: Readonly<Record<string, number>>
}

export interface HistoryReport {
  /** No rule was seen broken. */
  readonly ok: boolean
  readonly counts: HistoryCounts
  readonly lostWrites: LostWrites
  readonly rules: Readonly<Record<RuleName, RuleReport>>
  /** How many violations there are in all. */
  readonly violationCount: number
  /** Of each rule those that were found first, which need not be those that happened first. */
  readonly violations: readonly Violation[]
}
