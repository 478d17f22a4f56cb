/** Watches what enters the shared cache, for the rule that fills stay behind invalidations. */
import type { CacheStore } from '../../core/cache-store.js'
import type { ReadValue, WrittenValue } from '../../testing/history/record.js'
import { isLetGo, type Tombstone } from './exclusions.js'
import type { Violations } from './own-rules.js'
import type { Truth } from './truth.js'

interface Fill {
  readonly key: string
  readonly shown: ReadonlyMap<string, string | null>
  /** What had been written and invalidated before, and whose tombstones the store has not forgotten. */
  readonly after: readonly Invalidated[]
  /** How many tombstones of the key there had been. */
  readonly tombstones: number
}

/** A write whose invalidation has come through. */
interface Invalidated {
  readonly written: WrittenValue
  /** The tombstones of its key before that. */
  readonly tombstones: number
}

export class FillWatch {
  readonly #invalidated = new Map<string, Invalidated[]>()
  readonly #fills: Fill[] = []
  /** By key, in their order. */
  readonly #tombstones = new Map<string, Tombstone[]>()

  /** A router's store, with everything that is set noted. `look`: for a tombstone; `undefined` while nothing can be let go of. */
  watch(store: CacheStore, look: () => Tombstone | undefined): CacheStore {
    return {
      get: key => store.get(key),
      compareAndSet: async (key, expected, text, ttlMs) => {
        const set = await store.compareAndSet(key, expected, text, ttlMs)
        const { value } = JSON.parse(text) as { readonly value?: readonly ReadValue[] }
        if (set && value !== undefined) this.#fill(key, new Map(value))
        const tombstone = set && value === undefined ? look() : undefined
        if (tombstone !== undefined) listOf(this.#tombstones, key).push(tombstone)
        return set
      },
    }
  }

  /** The invalidation of a write has come through. */
  invalidated(key: string, written: readonly WrittenValue[]): void {
    const tombstones = this.#tombstones.get(key)?.length ?? 0
    listOf(this.#invalidated, key).push(...written.map(each => ({ written: each, tombstones })))
  }

  /** The store has lost everything, tombstones as well. */
  forgotten(): void {
    this.#invalidated.clear()
  }

  /** Exclusions: of writes that a failover cut off nothing need be left, nor of those that were let go of. */
  judge(truth: Truth, violations: Violations): void {
    for (const { key, shown, after, tombstones } of this.#fills) {
      const isMissing = ({ written: [at, value] }: Invalidated) =>
        truth.isKept(at, value) && !truth.includes(at, shown.get(at) ?? null, value)
      const since = (before: number) => this.#tombstones.get(key)?.slice(before, tombstones) ?? []
      const missing = after.find(each => isMissing(each) && !isLetGo(each.written, since(each.tombstones), truth))
      if (missing === undefined) continue
      const values = [...shown.values()].join()
      violations.add(
        'fills-stay-behind',
        `${key} = ${values} entered the shared cache after ${missing.written[1]} had been written and invalidated`,
      )
    }
  }

  #fill(key: string, shown: Fill['shown']): void {
    const after = [...(this.#invalidated.get(key) ?? [])]
    this.#fills.push({ key, shown, after, tombstones: this.#tombstones.get(key)?.length ?? 0 })
  }
}

function listOf<T>(lists: Map<string, T[]>, key: string): T[] {
  const known = lists.get(key)
  if (known !== undefined) return known
  const created: T[] = []
  lists.set(key, created)
  return created
}
