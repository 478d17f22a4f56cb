/** What the simulated servers know and no client does: which version replaced which, and what was kept in the end. */
import type { FinalRecord, VersionRecord } from '../../testing/history/record.js'

export class Truth {
  readonly versions: readonly VersionRecord[]
  readonly finals: readonly FinalRecord[]
  readonly #previous = new Map<string, string | null>()
  readonly #final = new Map<string, string | null>()

  constructor(versions: readonly VersionRecord[], finals: readonly FinalRecord[]) {
    this.versions = versions
    this.finals = finals
    for (const { key, value, prev } of versions) this.#previous.set(nameOf(key, value), prev)
    for (const { key, value } of finals) this.#final.set(key, value)
  }

  /** Whether the write of this value took effect at all, be it in a history that was cut off. */
  tookEffect(key: string, value: string): boolean {
    return this.#previous.has(nameOf(key, value))
  }

  /** Whether whoever sees `shown` under `key` sees a state that includes the write of `value`. */
  includes(key: string, shown: string | null, value: string): boolean {
    for (let at: string | null | undefined = shown; at != null; at = this.#previous.get(nameOf(key, at))) {
      if (at === value) return true
    }
    return false
  }

  /** Whether the write is part of what the key holds in the end. */
  isKept(key: string, value: string): boolean {
    return this.includes(key, this.#final.get(key) ?? null, value)
  }
}

function nameOf(key: string, value: string): string {
  return `${key} ${value}`
}
