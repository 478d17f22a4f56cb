/**
 * A map of at most `max` entries, of which the least recently used leaves first. An empty one costs next to nothing, where
 * `LRUCache` lays out all its room when it is made: for maps of which there are many, and most stay small.
 */
export class RecentMap<K, V extends NonNullable<unknown>> {
  /** In the order of use: a `Map` goes by the order of insertion. */
  readonly #entries = new Map<K, V>()
  readonly #max: number
  readonly #onEvict: (() => void) | undefined

  /** `onEvict` is called when an entry has left to make room. */
  constructor(max: number, onEvict?: () => void) {
    this.#max = max
    this.#onEvict = onEvict
  }

  get size(): number {
    return this.#entries.size
  }

  /** Uses it. */
  get(key: K): V | undefined {
    const value = this.#entries.get(key)
    if (value === undefined) return undefined
    this.#entries.delete(key)
    this.#entries.set(key, value)
    return value
  }

  /** Looks without using it. */
  peek(key: K): V | undefined {
    return this.#entries.get(key)
  }

  set(key: K, value: V): void {
    this.#entries.delete(key)
    this.#entries.set(key, value)
    if (this.#entries.size <= this.#max) return
    const [oldest] = this.#entries.keys()
    this.#entries.delete(oldest!)
    this.#onEvict?.()
  }

  delete(key: K): void {
    this.#entries.delete(key)
  }

  /** The least recently used first. */
  entries(): IterableIterator<[K, V]> {
    return this.#entries.entries()
  }
}
