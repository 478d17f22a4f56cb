/**
 * Reads that wait for replication, and writes whose acknowledgement does. They are parked in memory, ordered by the
 * position they need, and hold no connection: ten thousand of them cost one heap and the pollers that run anyway.
 *
 * One heap for each lineage and {@link Target}; its top is the smallest offset anybody waits for, so that a new observation
 * wakes exactly those it satisfies. A woken read decides afresh: being woken is a hint, not a proof.
 *
 * **Several entries.** Positions of several logs are ordered only in part, so no heap has the next one on top; and of two
 * entries each may be reached by another node, which serves nobody. So such a wait has a place at every node, in the heap of
 * one entry that this node lacks. When the node reaches that one, the place moves to another that it lacks; when there is none,
 * the wait is over. An observation so touches only waits that it brings further, and each at most once for each entry.
 */

import type { Clock } from './clock.js'
import type { Cluster } from './cluster.js'
import type { Node } from './node.js'
import type { Position } from './position.js'
import { ANY_REPLICA, hasIt, type Target } from './target.js'
import { type Waiter, WaiterHeap } from './waiter-heap.js'

/** How a wait ended. */
export type Woken = 'caught-up' | 'timed-out'

/** Those who wait for one target in one lineage. */
interface Queue {
  readonly key: string
  readonly lineage: string
  readonly target: Target
  readonly heap: WaiterHeap<Place>
}

/** A wait's place in a queue. */
interface Place extends Waiter {
  readonly queue: Queue
  /** Called when the target has reached the offset; it has left its queue then. */
  readonly reached: () => void
}

type Leave = () => void

export interface WaitingRoomOptions {
  /** At most this many reads wait at once; beyond it a wait ends at once as timed out. Default 100 000. */
  readonly maxWaiting?: number
}

export class WaitingRoom {
  readonly #queues = new Map<string, Queue>()
  readonly #cluster: Cluster
  readonly #clock: Clock
  readonly #maxWaiting: number
  /** How each of those who wait is sent away. */
  readonly #waits = new Set<(how: Woken) => void>()
  /** Of those who wait for several entries: what gives them a place at one more node. */
  readonly #watches = new Set<(node: Node) => void>()
  /** At which nodes all of those have a place, with a number for its name. */
  readonly #watched = new Map<Node, number>()
  #nodes = 0
  /** Called when the first read begins to wait: the monitor then polls at the pace of the round trip. */
  onFirst: () => void = () => {}

  constructor(cluster: Cluster, clock: Clock, options: WaitingRoomOptions = {}) {
    this.#cluster = cluster
    this.#clock = clock
    this.#maxWaiting = options.maxWaiting ?? 100_000
    cluster.onChange(node => this.#wake(node))
  }

  get size(): number {
    return this.#waits.size
  }

  /**
   * Resolves when `target` has applied `offset` of `lineage` (default: some usable replica), or after `budgetMs`. Rejects only
   * when `signal` aborts. Does not look whether it is so already: the next observation tells.
   */
  wait(lineage: string, offset: bigint, budgetMs: number, signal?: AbortSignal, target: Target = ANY_REPLICA): Promise<Woken> {
    return this.#enter(budgetMs, signal, caughtUp => {
      const place = this.#park(target, lineage, offset, caughtUp)
      return () => this.#leave(place)
    })
  }

  /**
   * As {@link wait}, for every entry of `position`, of which there must be one at least: one node that is enough for the target has to
   * have them all; where it takes several nodes, each entry has to have been reached.
   */
  waitForAll(position: Position, budgetMs: number, signal?: AbortSignal, target: Target = ANY_REPLICA): Promise<Woken> {
    return this.#enter(budgetMs, signal, caughtUp => {
      if (target.accepts === undefined) return this.#parkForAll(target, position, caughtUp)
      const leaves: Leave[] = []
      const watch = (node: Node) => leaves.push(this.#parkForAll(this.#at(node, target), position, caughtUp))
      if (this.#watches.size === 0) this.#watchOnly(this.#cluster.nodes)
      this.#watches.add(watch)
      for (const node of this.#watched.keys()) watch(node)
      return () => {
        this.#watches.delete(watch)
        for (const leave of leaves) leave()
      }
    })
  }

  /** Ends all waits, as timed out: their reads go on down their ladders. */
  close(): void {
    for (const end of [...this.#waits]) end('timed-out')
  }

  #enter(budgetMs: number, signal: AbortSignal | undefined, park: (caughtUp: () => void) => Leave): Promise<Woken> {
    if (signal?.aborted) return Promise.reject(signal.reason)
    if (this.#waits.size >= this.#maxWaiting || budgetMs <= 0) return Promise.resolve('timed-out')
    return new Promise((resolve, reject) => {
      const end = (how: Woken) => {
        leave()
        resolve(how)
      }
      const onAbort = () => {
        leave()
        reject(signal?.reason)
      }
      const unpark = park(() => end('caught-up'))
      const timer = this.#clock.setTimer(() => end('timed-out'), budgetMs, { keepAlive: true })
      const leave = () => {
        timer.cancel()
        signal?.removeEventListener('abort', onAbort)
        unpark()
        this.#waits.delete(end)
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#waits.add(end)
      if (this.#waits.size === 1) this.onFirst()
    })
  }

  #park(target: Target, lineage: string, offset: bigint, reached: () => void): Place {
    const key = `${target.key} ${lineage}`
    const queue = this.#queues.get(key) ?? { key, lineage, target, heap: new WaiterHeap() }
    this.#queues.set(key, queue)
    const place = { offset, index: -1, queue, reached }
    queue.heap.add(place)
    return place
  }

  /** A place that moves from one entry that the target has not reached to the next. */
  #parkForAll(target: Target, { entries }: Position, caughtUp: () => void): Leave {
    const missing = () => entries.find(({ lineage, offset }) => !target.reached(this.#cluster, lineage, offset))
    const park = ({ lineage, offset } = missing() ?? entries[0]!): Place =>
      this.#park(target, lineage, offset, () => {
        const next = missing()
        if (next === undefined) caughtUp()
        else place = park(next)
      })
    let place = park()
    return () => this.#leave(place)
  }

  #leave(place: Place): void {
    const { key, heap } = place.queue
    if (place.index >= 0) heap.remove(place)
    if (heap.size === 0 && this.#queues.get(key) === place.queue) this.#queues.delete(key)
  }

  /** One node, as far as it is enough for `target`. */
  #at(node: Node, target: Target): Target {
    return {
      key: `${target.key} at ${this.#watched.get(node)}`,
      reached: (cluster, lineage, offset) => target.accepts!(node, cluster) && hasIt(node, cluster, lineage, offset),
    }
  }

  #watchOnly(nodes: readonly Node[]): void {
    this.#watched.clear()
    for (const node of nodes) this.#watched.set(node, this.#nodes++)
  }

  /** Who has reached an offset has reached all before it, so the smallest ones go first until one is not reached. */
  #wake(changed: Node): void {
    if (this.#waits.size === 0) return
    if (this.#watches.size > 0 && !this.#watched.has(changed)) {
      // It has joined since.
      this.#watched.set(changed, this.#nodes++)
      for (const watch of this.#watches) watch(changed)
    }
    for (const { lineage, target, heap } of [...this.#queues.values()]) {
      for (let top = heap.top; top !== undefined && target.reached(this.#cluster, lineage, top.offset); top = heap.top) {
        this.#leave(top)
        top.reached()
      }
    }
  }
}
