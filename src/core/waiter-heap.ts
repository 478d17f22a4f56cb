/** Who waits for an offset. */
export interface Waiter {
  readonly offset: bigint
  /** Where in its heap it stands; -1 once it has left. */
  index: number
}

/** A binary min-heap by offset whose members know their place, so that a wait that times out leaves in O(log n). */
export class WaiterHeap<W extends Waiter> {
  readonly #items: W[] = []

  get size(): number {
    return this.#items.length
  }
  get top(): W | undefined {
    return this.#items[0]
  }
  add(waiter: W): void {
    this.#place(waiter, this.#items.length)
    this.#up(waiter)
  }
  remove(waiter: W): void {
    const at = waiter.index
    const last = this.#items.pop()!
    waiter.index = -1
    if (last === waiter) return
    this.#place(last, at)
    this.#up(last)
    this.#down(last)
  }
  #place(waiter: W, at: number): void {
    this.#items[at] = waiter
    waiter.index = at
  }
  #up(waiter: W): void {
    while (waiter.index > 0) {
      const parent = this.#items[(waiter.index - 1) >> 1]!
      if (parent.offset <= waiter.offset) return
      this.#swap(parent, waiter)
    }
  }
  #down(waiter: W): void {
    for (;;) {
      const left = this.#items[waiter.index * 2 + 1]
      const right = this.#items[waiter.index * 2 + 2]
      const least = right !== undefined && right.offset < left!.offset ? right : left
      if (least === undefined || waiter.offset <= least.offset) return
      this.#swap(waiter, least)
    }
  }
  #swap(a: W, b: W): void {
    const at = a.index
    this.#place(a, b.index)
    this.#place(b, at)
  }
}
