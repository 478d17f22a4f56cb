/** A binary heap of what is to happen, in the order of time, then of being scheduled. */
import type { Timer } from '../../core/clock.js'

export class SimulatedEvent implements Timer {
  readonly at: number
  readonly order: number
  /** `undefined`: cancelled. */
  run: (() => void) | undefined

  constructor(at: number, order: number, run: () => void) {
    this.at = at
    this.order = order
    this.run = run
  }

  cancel(): void {
    this.run = undefined
  }
}

export class EventQueue {
  readonly #heap: SimulatedEvent[] = []

  get length(): number {
    return this.#heap.length
  }

  peek(): SimulatedEvent | undefined {
    return this.#heap[0]
  }

  push(event: SimulatedEvent): void {
    const heap = this.#heap
    let at = heap.push(event) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      const above = heap[parent]!
      if (!isBefore(event, above)) break
      heap[at] = above
      at = parent
    }
    heap[at] = event
  }

  pop(): SimulatedEvent | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return first
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++
      if (!isBefore(heap[child]!, last)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = last
    return first
  }
}

function isBefore(a: SimulatedEvent, b: SimulatedEvent): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}
