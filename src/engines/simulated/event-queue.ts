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
    this.#rise(this.#heap.push(event) - 1, event)
  }

  pop(): SimulatedEvent | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return first
    // The gap sinks to a leaf, and the last rises from there: it was a leaf itself, and seldom rises far. Half as many comparisons
    // as holding it against both children on the way.
    let gap = 0
    for (let child = 1; child < heap.length; child = 2 * gap + 1) {
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++
      heap[gap] = heap[child]!
      gap = child
    }
    this.#rise(gap, last)
    return first
  }

  /** From a gap at `at` up to its place. */
  #rise(at: number, event: SimulatedEvent): void {
    const heap = this.#heap
    let gap = at
    while (gap > 0) {
      const parent = (gap - 1) >> 1
      const above = heap[parent]!
      if (!isBefore(event, above)) break
      heap[gap] = above
      gap = parent
    }
    heap[gap] = event
  }
}

function isBefore(a: SimulatedEvent, b: SimulatedEvent): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}
