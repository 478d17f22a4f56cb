/** Watches what enters the shared cache, for the rule that fills stay behind invalidations. */
import type { CacheStore } from '../../core/cache-store.js'
import type { Violations } from './own-rules.js'
import type { Truth } from './truth.js'

interface Fill {
  readonly key: string
  readonly value: string | null
  /** Values whose writes had been invalidated before, and whose tombstones the store has not forgotten. */
  readonly after: readonly string[]
}

export class FillWatch {
  readonly #invalidated = new Map<string, string[]>()
  readonly #fills: Fill[] = []

  /** The store, with everything that is set noted. */
  watch(store: CacheStore): CacheStore {
    return {
      get: key => store.get(key),
      compareAndSet: async (key, expected, text, ttlMs) => {
        const set = await store.compareAndSet(key, expected, text, ttlMs)
        const entry = JSON.parse(text) as { readonly value?: string | null }
        if (set && entry.value !== undefined)
          this.#fills.push({ key, value: entry.value, after: [...(this.#invalidated.get(key) ?? [])] })
        return set
      },
    }
  }

  /** The invalidation of a write has come through. */
  invalidated(key: string, value: string): void {
    const known = this.#invalidated.get(key)
    if (known === undefined) this.#invalidated.set(key, [value])
    else known.push(value)
  }

  /** The store has lost everything, tombstones as well. */
  forgotten(): void {
    this.#invalidated.clear()
  }

  /** Exclusion: of writes that a failover cut off nothing need be left. */
  judge(truth: Truth, violations: Violations): void {
    for (const { key, value, after } of this.#fills) {
      const missing = after.find(written => truth.isKept(key, written) && !truth.includes(key, value, written))
      if (missing === undefined) continue
      violations.add(
        'fills-stay-behind',
        `${key} = ${value} entered the shared cache after ${missing} had been written and invalidated`,
      )
    }
  }
}
