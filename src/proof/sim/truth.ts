/** What the simulated servers know and no client does: which version replaced which, and what was kept in the end. */
import type { FinalRecord, VersionRecord } from '../../testing/history/record.js'

export class Truth {
  readonly versions: readonly VersionRecord[]
  readonly finals: readonly FinalRecord[]
  /** By key, what each value replaced. */
  readonly #previous = new Map<string, Map<string, string | null>>()
  /** By key, what is kept in the end, each value with how many have replaced it since. */
  readonly #kept = new Map<string, Map<string, number>>()
  /** Under which key each value was written: values are unique. */
  readonly #keys = new Map<string, string>()

  /** When whoever wrote it could first see it, by key and value. */
  readonly #shownAt: ReadonlyMap<string, number>

  constructor(versions: readonly VersionRecord[], finals: readonly FinalRecord[], shownAt: ReadonlyMap<string, number>) {
    this.#shownAt = shownAt
    this.versions = versions
    this.finals = finals
    for (const { key, value, prev } of versions) {
      const previous = this.#previous.get(key) ?? new Map()
      this.#previous.set(key, previous.set(value, prev))
      this.#keys.set(value, key)
    }
    for (const { key, value } of finals) {
      const kept = new Map<string, number>()
      this.#kept.set(key, kept)
      const previous = this.#previous.get(key)
      for (let at: string | null | undefined = value; at != null; at = previous?.get(at)) kept.set(at, kept.size)
    }
  }

  /**
   * Under which key the value was written in the end: of a leaderless cluster that is the register of some log, which a client that had
   * no answer does not know. `undefined` when it never took effect.
   */
  keyOf(value: string): string | undefined {
    return this.#keys.get(value)
  }

  /** Whether whoever sees `shown` under `key` sees a state that includes the write of `value`. */
  includes(key: string, shown: string | null, value: string): boolean {
    // What a kept value replaced is kept, too: only of a branch that was left has the way to be gone.
    const kept = this.#kept.get(key)
    const age = shown === null ? undefined : kept?.get(shown)
    if (age !== undefined) return (kept!.get(value) ?? -1) >= age
    const previous = this.#previous.get(key)
    for (let at: string | null | undefined = shown; at != null; at = previous?.get(at)) {
      if (at === value) return true
    }
    return false
  }

  /** When the write took effect where it was written. Infinity: it never did. */
  shownAt(key: string, value: string): number {
    return this.#shownAt.get(nameOf(key, value)) ?? Number.POSITIVE_INFINITY
  }

  /** Whether the write is part of what the key holds in the end. */
  isKept(key: string, value: string): boolean {
    return this.#kept.get(key)?.has(value) === true
  }
}

function nameOf(key: string, value: string): string {
  return `${key} ${value}`
}
