/** What came of one seed: what was broken, and what happened at all. */

export interface Violation {
  /** The rule's name: of the checker, or one of the simulator's own. */
  readonly rule: string
  /** What happened and why it must not, in words. */
  readonly words: string
  /** The operations of the history that show it, where some do. */
  readonly operations: readonly number[]
}

/** How often each thing happened: `fault crash`, `rung wait`, `reroute busy`, … */
export type Coverage = Readonly<Record<string, number>>

export interface SeedReport {
  readonly seed: number
  readonly ops: number
  readonly violations: readonly Violation[]
  readonly coverage: Coverage
}

/** Adds up what happened. */
export class Tally {
  readonly #counts = new Map<string, number>()

  add(what: string, times = 1): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + times)
  }

  addAll(coverage: Coverage): void {
    for (const [what, times] of Object.entries(coverage)) this.add(what, times)
  }

  /** In the order of the names, so that equal tallies look equal. */
  get coverage(): Coverage {
    return Object.fromEntries([...this.#counts].sort(([a], [b]) => (a < b ? -1 : 1)))
  }
}
