/**
 * Burn rates: how many times faster than allowed an error budget is being spent, and when that is worth waking somebody.
 *
 * Multi-window, multi-burn-rate alerting as in Google's "The Site Reliability Workbook", chapter 5 ("Alerting on SLOs"),
 * table 5-8, for a period of 30 days. Each condition looks at two windows: the long one says that it matters, the short one
 * that it is still going on, so an alert ends soon after its cause has.
 *
 * **Hysteresis.** A rate that hovers at its threshold would fire and resolve at every look. So an alert is resolved only
 * after the short window has stayed under {@link RELEASE} of the threshold for {@link HOLD_MS}.
 */
import { SlidingCounts } from './sliding-counts.js'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

export type Severity = 'page' | 'ticket'

interface Condition {
  readonly severity: Severity
  readonly longMs: number
  readonly shortMs: number
  /** How many times the allowed rate. */
  readonly burn: number
}

/** The workbook's, the most urgent first. */
export const CONDITIONS: readonly Condition[] = Object.freeze([
  { severity: 'page', longMs: HOUR, shortMs: 5 * MINUTE, burn: 14.4 },
  { severity: 'page', longMs: 6 * HOUR, shortMs: 30 * MINUTE, burn: 6 },
  { severity: 'ticket', longMs: 72 * HOUR, shortMs: 6 * HOUR, burn: 1 },
])

/** Of the threshold, under which the short window has to stay… */
const RELEASE = 0.8
/** …for this long. */
const HOLD_MS = 2 * MINUTE
const BUCKET_MS = 30_000
/** The period that the conditions' numbers are made for. */
const PERIOD_MS = 72 * HOUR

/** What burns, at one moment. */
export interface Burn {
  readonly severity: Severity
  readonly longMs: number
  readonly shortMs: number
  /** Times the allowed rate, over either window. */
  readonly longBurn: number
  readonly shortBurn: number
  readonly threshold: number
}

export class BurnRate {
  /** The share that may be bad. */
  readonly budget: number
  /** With fewer events than this in the short window nothing is said: one bad read of three at night is no trend. */
  readonly minEvents: number
  readonly #counts = new SlidingCounts(BUCKET_MS, PERIOD_MS)
  /** Since when the condition that fires has been under its release; `undefined` while it is not. */
  #calmSince: number | undefined
  #firing: Condition | undefined

  constructor(budget: number, minEvents: number) {
    this.budget = budget
    this.minEvents = minEvents
  }

  add(now: number, bad: boolean): void {
    this.#counts.add(now, bad ? 1 : 0)
  }

  /** Over one window: 1 spends the whole budget of a period in exactly that period; `undefined` when nothing happened. */
  over(windowMs: number, now: number): number | undefined {
    const { bad, total } = this.#counts.over(windowMs, now)
    return total === 0 ? undefined : bad / total / this.budget
  }

  /** Of the budget of the last three days' events, what is left: 1 all, 0 none, negative overspent. */
  left(now: number): number {
    return 1 - (this.over(PERIOD_MS, now) ?? 0)
  }

  /** What fires now; the most urgent. `undefined`: nothing, or nothing any more. */
  look(now: number): Burn | undefined {
    const worst = CONDITIONS.find(condition => this.#holds(condition, now))
    const firing = this.#firing
    // What is less urgent takes over only when what fires is over; what is as urgent or more, at once.
    if (worst !== undefined && (firing === undefined || CONDITIONS.indexOf(worst) <= CONDITIONS.indexOf(firing))) {
      this.#calmSince = undefined
      this.#firing = worst
    } else if (firing !== undefined && this.#isOver(firing, now)) {
      this.#calmSince = undefined
      this.#firing = worst
    }
    return this.#firing && this.#burn(this.#firing, now)
  }

  #holds({ longMs, shortMs, burn }: Condition, now: number): boolean {
    if (this.#counts.over(shortMs, now).total < this.minEvents) return false
    return (this.over(longMs, now) ?? 0) >= burn && (this.over(shortMs, now) ?? 0) >= burn
  }

  #isOver({ shortMs, burn }: Condition, now: number): boolean {
    if ((this.over(shortMs, now) ?? 0) >= burn * RELEASE) {
      this.#calmSince = undefined
      return false
    }
    this.#calmSince ??= now
    return now - this.#calmSince >= HOLD_MS
  }

  #burn({ severity, longMs, shortMs, burn }: Condition, now: number): Burn {
    const longBurn = this.over(longMs, now) ?? 0
    return { severity, longMs, shortMs, longBurn, shortBurn: this.over(shortMs, now) ?? 0, threshold: burn }
  }
}
