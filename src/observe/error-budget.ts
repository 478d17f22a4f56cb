/**
 * A read-after-write service-level objective: how much of its error budget is left, how fast it burns, and who is told.
 */
import { checkNumber, MAX_TIMER_MS } from '../core/check-number.js'
import { type Clock, systemClock, type Timer } from '../core/clock.js'
import { ConfigurationError } from '../core/errors.js'
import { listen, publish } from '../core/events.js'
import type { Observed } from '../core/observed.js'
import { type Burn, BurnRate, type Severity } from './burn-rate.js'
import { Hysteresis } from './hysteresis.js'

/** What may be bad, and how much of it. What is left out has its default. */
export interface Objective {
  /** Share of canary reads that may miss their own write. Default 1e-6. */
  readonly violations?: number
  /** 99 of 100 reads add at most this many milliseconds. Default 20. */
  readonly addedLatencyP99Ms?: number
  /** No usable node of a region is further behind than this. Default 1 000. */
  readonly regionLagMs?: number
  /** Share of reads that may be served by a later rung of their ladder, or by none. Default 0.05. */
  readonly fallbackShare?: number
}

export const OBJECTIVE_DEFAULTS: Required<Objective> = Object.freeze({
  violations: 1e-6,
  addedLatencyP99Ms: 20,
  regionLagMs: 1_000,
  fallbackShare: 0.05,
})

/** What is alerted on. */
export type AlertName = 'violations' | 'addedLatency' | 'fallbackShare' | `regionLag ${string}`

export interface Alert {
  readonly db: string
  readonly name: AlertName
  readonly state: 'firing' | 'resolved'
  readonly severity: Severity
  /** For people. */
  readonly message: string
  /** Of the rates; absent for a region's lag. */
  readonly burn?: Burn
}

export interface ErrorBudgetOptions {
  readonly objective?: Objective
  /** Called when an alert begins, becomes more or less urgent, or ends; also a `tidemark:alert` event. An error in it is warned about. */
  readonly onAlert?: (alert: Alert) => void | Promise<void>
  /** Between two looks. Default 10 000. */
  readonly everyMs?: number
  readonly clock?: Clock
}

/** How one rate stands. */
export interface BudgetStatus {
  readonly name: AlertName
  /** The share that may be bad. */
  readonly budget: number
  /** How many times the allowed rate, over 5 minutes, 1 hour and 6 hours; `undefined` when nothing happened. */
  readonly burns: readonly (number | undefined)[]
  /** Of the last three days' budget: 1 all, 0 none, negative overspent. */
  readonly left: number
}

const BURN_WINDOWS_MS = [300_000, 3_600_000, 21_600_000] as const
/** Reads of the short window below which shares say nothing; one violation is one too many. */
const MIN_READS = 100
const LAG_HYSTERESIS = Object.freeze({ holdMs: 30_000, release: 0.8 })
/** Regions whose lag is watched; a configuration has a handful. */
const MAX_REGIONS = 100

/**
 * Watches a database's events until `close`. Violations are counted from canaries (`db.canary()`): nobody else knows what a
 * read should have seen. Throws {@link ConfigurationError} for an objective that cannot be one.
 */
export function errorBudget(db: Observed, options: ErrorBudgetOptions = {}): ErrorBudget {
  return new ErrorBudget(db, options)
}

export class ErrorBudget {
  readonly objective: Required<Objective>
  readonly #db: Observed
  readonly #clock: Clock
  readonly #onAlert: ErrorBudgetOptions['onAlert']
  readonly #rates: ReadonlyMap<AlertName, BurnRate>
  readonly #lags = new Map<string, Hysteresis>()
  readonly #active = new Map<AlertName, Alert>()
  readonly #stop: () => void
  #timer: Timer | undefined

  /** @internal Use {@link errorBudget}. */
  constructor(db: Observed, { objective, onAlert, everyMs = 10_000, clock = systemClock }: ErrorBudgetOptions) {
    checkNumber('everyMs', everyMs, { min: 1, max: MAX_TIMER_MS })
    this.objective = checked({ ...OBJECTIVE_DEFAULTS, ...objective })
    this.#db = db
    this.#clock = clock
    this.#onAlert = onAlert
    const violations = new BurnRate(this.objective.violations, 1)
    const latency = new BurnRate(0.01, MIN_READS)
    const fallbacks = new BurnRate(this.objective.fallbackShare, MIN_READS)
    this.#rates = new Map([
      ['violations', violations],
      ['addedLatency', latency],
      ['fallbackShare', fallbacks],
    ])
    this.#stop = listen(db.name, {
      'tidemark:read': ({ waitedMs, fallback }) => {
        const now = clock.now()
        latency.add(now, waitedMs > this.objective.addedLatencyP99Ms)
        fallbacks.add(now, fallback !== undefined)
      },
      // It has fallen off its ladder.
      'tidemark:refused': () => fallbacks.add(clock.now(), true),
      'tidemark:canary': ({ violated, failed }) => {
        if (failed === undefined) violations.add(clock.now(), violated)
      },
    })
    const again = () => {
      this.look()
      this.#timer = clock.setTimer(again, everyMs)
    }
    this.#timer = clock.setTimer(again, everyMs)
  }

  /** Alerts that are firing. */
  get alerts(): readonly Alert[] {
    return [...this.#active.values()]
  }

  status(): readonly BudgetStatus[] {
    const now = this.#clock.now()
    return [...this.#rates].map(([name, rate]) => ({
      name,
      budget: rate.budget,
      burns: BURN_WINDOWS_MS.map(windowMs => rate.over(windowMs, now)),
      left: rate.left(now),
    }))
  }

  /** Looks now, besides the looks that come by themselves. */
  look(): void {
    const now = this.#clock.now()
    for (const [name, rate] of this.#rates) this.#settle(name, rate.look(now), burn => describeBurn(name, burn))
    this.#lookAtRegions(now)
  }

  close(): void {
    this.#stop()
    this.#timer?.cancel()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #settle(name: AlertName, burn: Burn | undefined, describe: (burn: Burn) => string): void {
    const active = this.#active.get(name)
    if (burn === undefined) {
      if (active !== undefined) this.#tell({ ...active, state: 'resolved', message: `${name}: over` })
      return
    }
    const alert: Alert = { db: this.#db.name, name, state: 'firing', severity: burn.severity, message: describe(burn), burn }
    if (active?.severity === burn.severity) this.#active.set(name, alert)
    else this.#tell(alert)
  }

  #lookAtRegions(now: number): void {
    const lagMs = new Map<string, number>()
    for (const { region = '', role, usable, balanced, stalenessMs } of this.#db.status()) {
      if (role === 'primary' || !usable || balanced) continue
      // Not known is not fine: a replica of another history, or further back than is remembered.
      lagMs.set(region, Math.max(lagMs.get(region) ?? 0, stalenessMs ?? Number.POSITIVE_INFINITY))
    }
    for (const region of new Set([...lagMs.keys(), ...this.#lags.keys()])) {
      const known = this.#lags.get(region)
      if (known === undefined && this.#lags.size >= MAX_REGIONS) continue
      const state = known ?? new Hysteresis(this.objective.regionLagMs, LAG_HYSTERESIS)
      this.#lags.set(region, state)
      const lag = lagMs.get(region) ?? 0
      if (state.update(lag, now)) this.#tell(regionAlert(this.#db.name, region, state.raised, lag))
    }
  }

  #tell(alert: Alert): void {
    if (alert.state === 'firing') this.#active.set(alert.name, alert)
    else this.#active.delete(alert.name)
    publish('tidemark:alert', () => alert)
    void this.#call(alert)
  }

  /** Never rejects. */
  async #call(alert: Alert): Promise<void> {
    try {
      await this.#onAlert?.(alert)
    } catch (cause) {
      publish('tidemark:warning', () => ({ db: this.#db.name, message: 'onAlert threw', cause }))
    }
  }
}

function regionAlert(db: string, region: string, raised: boolean, lagMs: number): Alert {
  const where = region === '' ? 'replicas without a region' : `replicas of ${region}`
  const far = Number.isFinite(lagMs) ? `${Math.round(lagMs)} ms behind at most` : 'behind by more than is known'
  const message = raised ? `${where} are ${far}` : `${where} have caught up`
  return { db, name: `regionLag ${region}`, state: raised ? 'firing' : 'resolved', severity: 'page', message }
}

function describeBurn(name: AlertName, { longBurn, shortBurn, longMs, shortMs, threshold }: Burn): string {
  const over = `${longBurn.toFixed(1)}× over ${duration(longMs)}, ${shortBurn.toFixed(1)}× over ${duration(shortMs)}`
  return `${name}: the error budget burns ${over} (fires from ${threshold}× on, ends well under it)`
}

function duration(ms: number): string {
  return ms < 3_600_000 ? `${ms / 60_000} min` : `${ms / 3_600_000} h`
}

function checked(objective: Required<Objective>): Required<Objective> {
  for (const name of ['violations', 'fallbackShare'] as const) {
    const share = objective[name]
    if (!(share > 0 && share < 1)) {
      throw new ConfigurationError(`objective.${name} is a share of reads, greater than 0 and less than 1, not ${share}`)
    }
  }
  for (const name of ['addedLatencyP99Ms', 'regionLagMs'] as const) {
    const ms = objective[name]
    if (!(Number.isFinite(ms) && ms > 0)) throw new ConfigurationError(`objective.${name} is a number of milliseconds, not ${ms}`)
  }
  return objective
}
