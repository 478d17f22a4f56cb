/**
 * Reads that wait for replication, and writes whose acknowledgement does. They are parked in memory, ordered by the
 * position they need, and hold no connection: ten thousand of them cost one heap and the pollers that run anyway.
 *
 * One heap for each lineage and {@link Target}; its top is the smallest offset anybody waits for, so that a new observation
 * wakes exactly those it satisfies. A woken read decides afresh: being woken is a hint, not a proof.
 */

import type { Clock, Timer } from './clock.js'
import type { Cluster } from './cluster.js'
import { ANY_REPLICA, type Target } from './target.js'

/** How a wait ended. */
export type Woken = 'caught-up' | 'timed-out'

/** Those who wait for one target in one lineage. */
interface Queue {
  readonly lineage: string
  readonly target: Target
  readonly heap: WaiterHeap
}

interface Waiter {
  readonly offset: bigint
  /** Where in its heap it stands; -1 once it has left. */
  index: number
  readonly wake: (how: Woken) => void
}

export interface WaitingRoomOptions {
  /** At most this many reads wait at once; beyond it a wait ends at once as timed out. Default 100 000. */
  readonly maxWaiting?: number
}

export class WaitingRoom {
  readonly #queues = new Map<string, Queue>()
  readonly #cluster: Cluster
  readonly #clock: Clock
  readonly #maxWaiting: number
  #size = 0
  /** Called when the first read begins to wait: the monitor then polls at the pace of the round trip. */
  onFirst: () => void = () => {}

  constructor(cluster: Cluster, clock: Clock, options: WaitingRoomOptions = {}) {
    this.#cluster = cluster
    this.#clock = clock
    this.#maxWaiting = options.maxWaiting ?? 100_000
    cluster.onChange(() => this.#wake())
  }

  get size(): number {
    return this.#size
  }

  /**
   * Resolves when `target` has applied `offset` of `lineage` (default: some usable replica), or after `budgetMs`. Rejects only
   * when `signal` aborts. Does not look whether it is so already: the next observation tells.
   */
  wait(lineage: string, offset: bigint, budgetMs: number, signal?: AbortSignal, target: Target = ANY_REPLICA): Promise<Woken> {
    if (signal?.aborted) return Promise.reject(signal.reason)
    if (this.#size >= this.#maxWaiting || budgetMs <= 0) return Promise.resolve('timed-out')
    return new Promise((resolve, reject) => {
      const key = `${target.key} ${lineage}`
      const queue = this.#queues.get(key) ?? { lineage, target, heap: new WaiterHeap() }
      this.#queues.set(key, queue)
      const own = queue.heap
      let timer: Timer | undefined
      const leave = () => {
        timer?.cancel()
        signal?.removeEventListener('abort', onAbort)
        if (waiter.index >= 0) own.remove(waiter)
        this.#size--
        if (own.size === 0 && this.#queues.get(key) === queue) this.#queues.delete(key)
      }
      const waiter: Waiter = {
        offset,
        index: -1,
        wake: how => {
          leave()
          resolve(how)
        },
      }
      const onAbort = () => {
        leave()
        reject(signal?.reason)
      }
      timer = this.#clock.setTimer(() => waiter.wake('timed-out'), budgetMs, { keepAlive: true })
      signal?.addEventListener('abort', onAbort, { once: true })
      own.add(waiter)
      if (this.#size++ === 0) this.onFirst()
    })
  }

  /** Ends all waits, as timed out: their reads go on down their ladders. */
  close(): void {
    for (const { heap } of [...this.#queues.values()]) for (const waiter of heap.drain()) waiter.wake('timed-out')
  }

  /** Who has reached an offset has reached all before it, so the smallest ones go first until one is not reached. */
  #wake(): void {
    if (this.#size === 0) return
    for (const { lineage, target, heap } of [...this.#queues.values()]) {
      for (let top = heap.top; top !== undefined && target.reached(this.#cluster, lineage, top.offset); top = heap.top) {
        top.wake('caught-up')
      }
    }
  }
}

/** A binary min-heap by offset whose members know their place, so that a wait that times out leaves in O(log n). */
class WaiterHeap {
  readonly #items: Waiter[] = []

  get size(): number {
    return this.#items.length
  }
  get top(): Waiter | undefined {
    return this.#items[0]
  }
  add(waiter: Waiter): void {
    this.#place(waiter, this.#items.length)
    this.#up(waiter)
  }
  remove(waiter: Waiter): void {
    const at = waiter.index
    const last = this.#items.pop()!
    waiter.index = -1
    if (last === waiter) return
    this.#place(last, at)
    this.#up(last)
    this.#down(last)
  }
  drain(): Waiter[] {
    return [...this.#items]
  }
  #place(waiter: Waiter, at: number): void {
    this.#items[at] = waiter
    waiter.index = at
  }
  #up(waiter: Waiter): void {
    while (waiter.index > 0) {
      const parent = this.#items[(waiter.index - 1) >> 1]!
      if (parent.offset <= waiter.offset) return
      this.#swap(parent, waiter)
    }
  }
  #down(waiter: Waiter): void {
    for (;;) {
      const left = this.#items[waiter.index * 2 + 1]
      const right = this.#items[waiter.index * 2 + 2]
      const least = right !== undefined && right.offset < left!.offset ? right : left
      if (least === undefined || waiter.offset <= least.offset) return
      this.#swap(waiter, least)
    }
  }
  #swap(a: Waiter, b: Waiter): void {
    const at = a.index
    this.#place(a, b.index)
    this.#place(b, at)
  }
}
