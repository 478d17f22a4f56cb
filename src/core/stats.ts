/**
 * What a database has done since it was opened, counted from the events that it publishes: nothing in the path of a decision
 * knows of it. Every set of names is bounded, so that a caller's rung or policy with a name of its own each time costs nothing.
 */
import { type Listeners, listen } from './events.js'
import { Histogram, type HistogramSnapshot } from './histogram.js'
import type { Outcome } from './outcome.js'

/** Names beyond this many of one kind are counted together, as {@link OTHER}. */
export const MAX_NAMES = 50
export const OTHER = 'other'

export type Counts = Readonly<Record<string, number>>

export interface CanaryStats {
  readonly reads: number
  readonly violations: number
  readonly failures: number
}

export interface Stats {
  readonly reads: {
    readonly total: number
    readonly byRung: Counts
    readonly byGuarantee: Counts
    /** Reads by the pair of both, `rung guarantee`. */
    readonly byRungAndGuarantee: Counts
    /** Reads that a later rung of their ladder served, by why. */
    readonly fallbacks: Counts
    readonly possiblyLost: number
    /** Reads that ended without an answer, by the error's code. */
    readonly refused: Counts
    readonly reroutes: Counts
  }
  /** Milliseconds that reads waited for replication; the first bucket, 0, is the fast path. */
  readonly addedLatency: HistogramSnapshot
  readonly waits: { readonly succeeded: number; readonly 'timed-out': number; readonly skipped: number }
  readonly writes: {
    /** Whose position was captured. */
    readonly certain: number
    /** Whose answer was lost. */
    readonly uncertain: number
    /** By write policy, whether it was reached. */
    readonly reached: Counts
    readonly unreached: Counts
  }
  readonly tokens: { readonly issued: number; readonly accepted: number; readonly merged: number; readonly rejected: Counts }
  /** Reads of a quorum by how many nodes were asked. */
  readonly quorums: Counts
  /** Reads of fenced caches, and of authors' own values, by what came of them. */
  readonly cache: { readonly fenced: Counts; readonly session: Counts }
  /** Sessions that were told that writes may be lost, by verdict. */
  readonly lostWrites: Counts
  readonly failovers: number
  readonly canary: Readonly<Record<string, CanaryStats>>
  readonly warnings: number
}

/** A bounded set of counters. */
class Counter {
  readonly #counts = new Map<string, { count: number }>()
  add(name: string, by = 1): void {
    const known = this.#counts.get(name)
    if (known !== undefined) known.count += by
    else if (this.#counts.size < MAX_NAMES || name === OTHER) this.#counts.set(name, { count: by })
    else this.add(OTHER, by)
  }
  get(name: string): number {
    return this.#counts.get(name)?.count ?? 0
  }
  entries(): [name: string, count: number][] {
    return [...this.#counts].map(([name, { count }]) => [name, count])
  }
  snapshot(): Counts {
    return Object.fromEntries(this.entries())
  }
}

/** Reads by the guarantee achieved and the rung that served. One count a read; what is summed over either is summed when asked for. */
class ReadCounter {
  readonly #rungs = new Map<Outcome['guarantee'], Counter>()
  add({ rung, guarantee }: Outcome): void {
    const known = this.#rungs.get(guarantee)
    const rungs = known ?? new Counter()
    if (known === undefined) this.#rungs.set(guarantee, rungs)
    rungs.add(rung)
  }
  snapshot(): Pick<Stats['reads'], 'byRung' | 'byGuarantee' | 'byRungAndGuarantee'> {
    const [byRung, byGuarantee, byRungAndGuarantee] = [new Counter(), new Counter(), new Counter()]
    for (const [guarantee, rungs] of this.#rungs) {
      for (const [rung, count] of rungs.entries()) {
        byRung.add(rung, count)
        byGuarantee.add(guarantee, count)
        byRungAndGuarantee.add(`${rung} ${guarantee}`, count)
      }
    }
    return {
      byRung: byRung.snapshot(),
      byGuarantee: byGuarantee.snapshot(),
      byRungAndGuarantee: byRungAndGuarantee.snapshot(),
    }
  }
}

/** Counts the events of the database of that name from `open` until `close`. */
export class StatsCollector {
  readonly #db: string
  #unlisten = () => {}
  readonly #reads = new ReadCounter()
  readonly #fallbacks = new Counter()
  readonly #refused = new Counter()
  readonly #reroutes = new Counter()
  readonly #waits = new Counter()
  readonly #reached = new Counter()
  readonly #unreached = new Counter()
  readonly #rejected = new Counter()
  readonly #quorums = new Counter()
  readonly #caches = { fenced: new Counter(), session: new Counter() }
  readonly #lost = new Counter()
  readonly #canaryReads = new Counter()
  readonly #canaryViolations = new Counter()
  readonly #canaryFailures = new Counter()
  readonly #addedLatency = new Histogram()
  readonly #plain = {
    reads: 0,
    possiblyLost: 0,
    certain: 0,
    uncertain: 0,
    issued: 0,
    accepted: 0,
    merged: 0,
    failovers: 0,
    warnings: 0,
  }

  constructor(db: string) {
    this.#db = db
  }

  open(): void {
    this.#unlisten = listen(this.#db, this.#counting())
  }

  close(): void {
    this.#unlisten()
  }

  snapshot(): Stats {
    const plain = this.#plain
    return {
      reads: {
        total: plain.reads,
        ...this.#reads.snapshot(),
        fallbacks: this.#fallbacks.snapshot(),
        possiblyLost: plain.possiblyLost,
        refused: this.#refused.snapshot(),
        reroutes: this.#reroutes.snapshot(),
      },
      addedLatency: this.#addedLatency.snapshot(),
      waits: {
        succeeded: this.#waits.get('succeeded'),
        'timed-out': this.#waits.get('timed-out'),
        skipped: this.#waits.get('skipped'),
      },
      writes: {
        certain: plain.certain,
        uncertain: plain.uncertain,
        reached: this.#reached.snapshot(),
        unreached: this.#unreached.snapshot(),
      },
      tokens: { issued: plain.issued, accepted: plain.accepted, merged: plain.merged, rejected: this.#rejected.snapshot() },
      quorums: this.#quorums.snapshot(),
      cache: { fenced: this.#caches.fenced.snapshot(), session: this.#caches.session.snapshot() },
      lostWrites: this.#lost.snapshot(),
      failovers: plain.failovers,
      canary: this.#canary(),
      warnings: plain.warnings,
    }
  }

  #canary(): Record<string, CanaryStats> {
    const paths = new Set([...Object.keys(this.#canaryReads.snapshot()), ...Object.keys(this.#canaryFailures.snapshot())])
    return Object.fromEntries(
      [...paths].map(path => [
        path,
        {
          reads: this.#canaryReads.get(path),
          violations: this.#canaryViolations.get(path),
          failures: this.#canaryFailures.get(path),
        },
      ]),
    )
  }

  #counting(): Listeners {
    const plain = this.#plain
    return {
      'tidemark:read': outcome => {
        const { fallback, wait, waitedMs, possiblyLost } = outcome
        plain.reads++
        this.#reads.add(outcome)
        this.#addedLatency.record(waitedMs)
        if (fallback !== undefined) this.#fallbacks.add(fallback)
        if (wait !== undefined) this.#waits.add(wait)
        if (possiblyLost) plain.possiblyLost++
      },
      'tidemark:refused': ({ code, wait }) => {
        this.#refused.add(code)
        if (wait !== undefined) this.#waits.add(wait)
      },
      'tidemark:reroute': ({ reason }) => this.#reroutes.add(reason),
      'tidemark:write': ({ position }) => {
        if (position === undefined) plain.uncertain++
        else plain.certain++
      },
      'tidemark:acknowledged': ({ policy, reached }) => (reached ? this.#reached : this.#unreached).add(policy),
      'tidemark:token': ({ issued, accepted, merged }) => {
        plain.issued += issued
        plain.accepted += accepted
        plain.merged += merged
      },
      'tidemark:token-rejected': ({ reason }) => this.#rejected.add(reason),
      'tidemark:quorum': ({ size }) => this.#quorums.add(String(size)),
      'tidemark:cache': ({ cache, result }) => this.#caches[cache].add(result),
      'tidemark:possibly-lost': ({ verdict }) => this.#lost.add(verdict),
      'tidemark:primary': ({ node, previous }) => {
        if (previous !== undefined && previous !== node) plain.failovers++
      },
      'tidemark:canary': ({ path, violated, failed }) => {
        if (failed !== undefined) this.#canaryFailures.add(path)
        else this.#canaryReads.add(path)
        if (violated) this.#canaryViolations.add(path)
      },
      'tidemark:warning': () => {
        plain.warnings++
      },
    }
  }
}
