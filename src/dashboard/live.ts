/** What the page shows, taken once a second for all who look at it. Everything that it keeps is bounded. */
import type { Clock, Timer } from '../core/clock.js'
import { type Events, listen } from '../core/events.js'
import { between, type HistogramSnapshot, quantile } from '../core/histogram.js'
import type { Observed, ObservedNode } from '../core/observed.js'
import type { Counts, Stats } from '../core/stats.js'

/** What of an error budget the page shows: `errorBudget()` of tidemark/observe is one. */
export interface ShownBudget {
  readonly alerts: readonly { readonly severity: string; readonly message: string }[]
  status(): readonly { readonly name: string; readonly burns: readonly (number | undefined)[]; readonly left: number }[]
}

/** One moment of the charts. `null`: not known. */
export interface Point {
  /** Milliseconds since 1970. */
  readonly at: number
  readonly staleness: Readonly<Record<string, number | null>>
  readonly p50: number | null
  readonly p99: number | null
}

export interface Incident {
  readonly at: number
  readonly position?: string
  readonly verdict?: string
  readonly reason?: string
}

export interface State {
  readonly name: string
  readonly point: Point
  readonly nodes: readonly ObservedNode[]
  readonly numbers: Readonly<Record<string, number | null>>
  readonly rungs: readonly { readonly rung: string; readonly reads: number; readonly perSecond: number }[]
  readonly alerts: ShownBudget['alerts']
  readonly budgets: readonly { readonly objective: string; readonly burns: readonly (number | null)[]; readonly left: number }[]
  readonly lost: readonly Incident[]
  readonly rejected: readonly Incident[]
}

const EVERY_MS = 1_000
/** Ten minutes: what somebody who has just opened the page sees of the past. */
const MAX_POINTS = 600
const MAX_INCIDENTS = 20
/** Quantiles over fewer reads than the last ten seconds' would jump. */
const LATENCY_WINDOW_TICKS = 10

interface Tick {
  readonly at: number
  readonly byRung: Counts
  readonly addedLatency: HistogramSnapshot
}

export class Live {
  readonly #db: Observed
  readonly #budget: ShownBudget | undefined
  readonly #clock: Clock
  readonly #points: Point[] = []
  readonly #lost: Incident[] = []
  readonly #rejected: Incident[] = []
  /** The oldest first. */
  readonly #ticks: Tick[] = []
  readonly #listeners = new Set<(state: State) => void>()
  readonly #unlisten: () => void
  #timer: Timer | undefined

  constructor(db: Observed, budget: ShownBudget | undefined, clock: Clock) {
    this.#db = db
    this.#budget = budget
    this.#clock = clock
    const keep = (list: Incident[], incident: Omit<Incident, 'at'>) => {
      list.unshift({ at: clock.wallNow(), ...incident })
      if (list.length > MAX_INCIDENTS) list.pop()
    }
    this.#unlisten = listen(db.name, {
      'tidemark:possibly-lost': ({ position, verdict }: Events['tidemark:possibly-lost']) =>
        keep(this.#lost, { position, verdict }),
      'tidemark:token-rejected': ({ reason }: Events['tidemark:token-rejected']) => keep(this.#rejected, { reason }),
    })
    const again = () => {
      this.#tick()
      this.#timer = clock.setTimer(again, EVERY_MS)
    }
    again()
  }

  get points(): readonly Point[] {
    return this.#points
  }

  /** Called with each new state, until the function that comes back is called. */
  subscribe(listener: (state: State) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  close(): void {
    this.#timer?.cancel()
    this.#unlisten()
    this.#listeners.clear()
  }

  #tick(): void {
    const stats = this.#db.stats()
    const nodes = this.#db.status()
    const point = this.#point(nodes, stats)
    const rungs = this.#rungs(stats)
    this.#points.push(point)
    if (this.#points.length > MAX_POINTS) this.#points.shift()
    this.#ticks.push({ at: this.#clock.now(), byRung: stats.reads.byRung, addedLatency: stats.addedLatency })
    if (this.#ticks.length > LATENCY_WINDOW_TICKS) this.#ticks.shift()
    if (this.#listeners.size === 0) return
    const state: State = {
      name: this.#db.name,
      point,
      nodes,
      numbers: this.#numbers(stats),
      rungs,
      alerts: this.#budget?.alerts.map(({ severity, message }) => ({ severity, message })) ?? [],
      budgets:
        this.#budget?.status().map(({ name, burns, left }) => ({
          objective: name,
          burns: burns.map(burn => burn ?? null),
          left,
        })) ?? [],
      lost: this.#lost,
      rejected: this.#rejected,
    }
    for (const listener of this.#listeners) listener(state)
  }

  #point(nodes: readonly ObservedNode[], stats: Stats): Point {
    const recent = between(this.#ticks[0]?.addedLatency, stats.addedLatency)
    const staleness = nodes.map(({ node, usable, stalenessMs }) => [node, usable ? (stalenessMs ?? null) : null] as const)
    return {
      at: this.#clock.wallNow(),
      staleness: Object.fromEntries(staleness),
      p50: quantile(recent, 0.5) ?? null,
      p99: quantile(recent, 0.99) ?? null,
    }
  }

  #rungs({ reads }: Stats): State['rungs'] {
    const last = this.#ticks.at(-1)
    const seconds = last === undefined ? 1 : Math.max(0.001, (this.#clock.now() - last.at) / 1_000)
    return Object.entries(reads.byRung)
      .map(([rung, count]) => ({
        rung,
        reads: count,
        perSecond: last === undefined ? 0 : (count - (last.byRung[rung] ?? 0)) / seconds,
      }))
      .sort((a, b) => b.reads - a.reads)
  }

  #numbers({ reads, writes, canary, lostWrites, failovers }: Stats): State['numbers'] {
    const paths = Object.values(canary)
    const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0)
    return {
      reads: reads.total,
      fallbackShare: reads.total === 0 ? null : sum(Object.values(reads.fallbacks)) / reads.total,
      refused: sum(Object.values(reads.refused)),
      violations: sum(paths.map(({ violations }) => violations)),
      canaryReads: sum(paths.map(path => path.reads)),
      writes: writes.certain + writes.uncertain,
      possiblyLost: sum(Object.values(lostWrites)),
      failovers,
      waiting: this.#db.waiting,
    }
  }
}
