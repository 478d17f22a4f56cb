/** Watches what enters the shared cache, for the rule that fills stay behind invalidations. */
import type { CacheStore } from '../../core/cache-store.js'
import type { ReadValue, WrittenValue } from '../../testing/history/record.js'
import type { Violations } from './own-rules.js'
import type { Truth } from './truth.js'

interface Fill {
  readonly key: string
  readonly shown: ReadonlyMap<string, string | null>
  /** What had been written and invalidated before, and whose tombstones the store has not forgotten. */
  readonly after: readonly WrittenValue[]
}

export class FillWatch {
  readonly #invalidated = new Map<string, WrittenValue[]>()
  readonly #fills: Fill[] = []

  /** The store, with everything that is set noted. */
  watch(store: CacheStore): CacheStore {
    return {
      get: key => store.get(key),
      compareAndSet: async (key, expected, text, ttlMs) => {
        const set = await store.compareAndSet(key, expected, text, ttlMs)
        const { value } = JSON.parse(text) as { readonly value?: readonly ReadValue[] }
        const after = [...(this.#invalidated.get(key) ?? [])]
        if (set && value !== undefined) this.#fills.push({ key, shown: new Map(value), after })
        return set
      },
    }
  }

  /** The invalidation of a write has come through. */
  invalidated(key: string, written: readonly WrittenValue[]): void {
    const known = this.#invalidated.get(key)
    if (known === undefined) this.#invalidated.set(key, [...written])
    else known.push(...written)
  }

  /** The store has lost everything, tombstones as well. */
  forgotten(): void {
    this.#invalidated.clear()
  }

  /** Exclusion: of writes that a failover cut off nothing need be left. */
  judge(truth: Truth, violations: Violations): void {
    for (const { key, shown, after } of this.#fills) {
      const isMissing = ([at, written]: WrittenValue) =>
        truth.isKept(at, written) && !truth.includes(at, shown.get(at) ?? null, written)
      const missing = after.find(isMissing)
      if (missing === undefined) continue
      const values = [...shown.values()].join()
      violations.add(
        'fills-stay-behind',
        `${key} = ${values} entered the shared cache after ${missing[1]} had been written and invalidated`,
      )
    }
  }
}
