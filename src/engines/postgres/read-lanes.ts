/**
 * Lets quick reads share connections. Statements of different reads are pipelined on one connection, each with its own
 * Sync, so one that fails does not touch the others.
 *
 * - When there are more of them than connections: after a wait on a lagging replica thousands of reads come due at once, and
 *   a pool would run them a connection's worth at a time, idling for a round trip between any two.
 * - When several come in one turn of the event loop: a busy process spends more on writing to sockets than on all else that
 *   a read costs it, and the server on being woken. Together they are one write and one waking. They go out when the turn is
 *   over, which costs no answer anything: none is read before that. A read that is alone goes out at once.
 *
 * The price of sharing is waiting behind one's neighbours. Hence the conditions: only statements that have proved quick (and
 * while there are free connections, only those that take no longer than the monitor's question, which is as little as a
 * statement can take, at any distance and under any load), only a few on one connection, and never while somebody waits for a
 * connection of his own (a transaction would starve).
 */
import { LRUCache } from 'lru-cache'
import type { Clock } from '../../core/clock.js'
import type { Node } from '../../core/node.js'
import type { Connections, Lease, LeaseCallback, PooledLease } from './connections.js'
import { batchWrites } from './driver.js'

const MAX_SHARING = 16
/** A connection takes on more from the queue when it is down to this many, so that they go out in one write. */
const REFILL_AT = 8
/** Of one turn: the last of them waits for no more than this many others, although connections are free. */
const MAX_TOGETHER = 4
const QUICK_MS = 5
const MAX_TEXTS = 2_000
const MAX_QUEUED = 100_000
const SMOOTHING = 0.2

/** How long statements take, by text: bounded, so that unique texts cannot fill memory. */
export class StatementTimes {
  readonly #means = new LRUCache<string, number>({ max: MAX_TEXTS })

  /** What it has been taking, if that is quick; a statement never seen is not. */
  quickMs(text: string): number | undefined {
    const mean = this.#means.get(text)
    return mean !== undefined && mean < QUICK_MS ? mean : undefined
  }

  note(text: string, ms: number): void {
    const mean = this.#means.get(text)
    this.#means.set(text, mean === undefined ? ms : mean + SMOOTHING * (ms - mean))
  }
}

/** One connection that reads share. */
class Lane {
  readonly lease: PooledLease
  sharing = 0
  spoiled = false
  /** When the statement before was answered: until then the next one was only waiting. */
  freeAt = Number.NEGATIVE_INFINITY
  constructor(lease: PooledLease) {
    this.lease = lease
  }
}

export class ReadLanes {
  readonly #node: Node
  readonly #connections: Connections
  readonly #clock: Clock
  readonly #timeoutMs: number
  readonly #lanes = new Set<Lane>()
  /** First come, first served; every entry leaves it at its deadline at the latest. */
  readonly #queue = new Set<LeaseCallback>()
  /** Connections that quick reads have to themselves: each becomes a lane when it is given back and others are queued. */
  #lent = 0
  /** Connections asked for and not had yet. */
  #opening = 0
  /** Takes in the reads of this turn of the event loop. */
  #gathering: Lane | undefined

  constructor(node: Node, connections: Connections, clock: Clock, timeoutMs: number) {
    this.#node = node
    this.#connections = connections
    this.#clock = clock
    this.#timeoutMs = timeoutMs
  }

  /**
   * A connection for one quick read, if one was kept back: at once, and without a promise. It may be shared with others of this
   * turn of the event loop.
   */
  take(quickMs: number): Lease | undefined {
    const mayGather = quickMs <= this.#node.latencyMs && this.#lanes.size + this.#lent > 0
    const open = mayGather ? this.#gathering : undefined
    if (open !== undefined && open.sharing < MAX_TOGETHER && this.#mayJoin(open)) return this.#join(open)
    const lease = this.#connections.take()
    if (lease === undefined || !mayGather || lease.connection.pipeline !== true) return lease && this.#lend(lease)
    return this.#join(this.#gather(lease))
  }

  #gather(lease: PooledLease): Lane {
    const lane = new Lane(lease)
    this.#lanes.add(lane)
    this.#gathering = lane
    batchWrites(lease.connection, () => {
      if (this.#gathering === lane) this.#gathering = undefined
    })
    return lane
  }

  /** A lease for one quick read, of its own if there is a free connection, else shared. */
  acquire(callback: LeaseCallback): void {
    const free = this.#connections.freeCount > 0
    const lane = free ? undefined : this.#leastShared()
    if (lane !== undefined) callback(undefined, this.#join(lane))
    else if (free || this.#othersWait || this.#lanes.size + this.#opening + this.#lent === 0) this.#open(callback)
    else if (this.#queue.size < MAX_QUEUED) this.#enqueue(callback)
    else callback(new Error('timeout exceeded when trying to connect: too many reads are queued'), undefined)
  }

  #open(callback: LeaseCallback): void {
    this.#opening++
    this.#connections.acquire((error, lease) => {
      this.#opening--
      callback(error, lease && this.#lend(lease))
      if (lease === undefined) this.#disperse()
    })
  }

  #lend(lease: PooledLease): Lease {
    this.#lent++
    lease.returnTo = this.#returned
    return lease
  }

  readonly #returned = (lease: PooledLease, discard: boolean): void => {
    this.#lent--
    lease.returnTo = this.#connections.giveBack
    if (!discard && this.#queue.size > 0 && !this.#othersWait) {
      const lane = new Lane(lease)
      this.#lanes.add(lane)
      this.#serveQueue(lane)
      if (lane.sharing > 0) return
      this.#lanes.delete(lane)
    }
    lease.release(discard)
    this.#disperse()
  }

  /** Somebody waits for a connection of his own. */
  get #othersWait(): boolean {
    return this.#connections.pool.waitingCount > this.#opening
  }

  #leastShared(): Lane | undefined {
    let best: Lane | undefined
    for (const lane of this.#lanes) {
      if (this.#mayJoin(lane) && (best === undefined || lane.sharing < best.sharing)) best = lane
    }
    return best
  }

  #mayJoin({ sharing, spoiled, lease }: Lane): boolean {
    return (
      sharing < MAX_SHARING &&
      !spoiled &&
      !this.#othersWait &&
      lease.identity.incarnation === this.#node.incarnation &&
      lease.connection.pipeline === true
    )
  }

  #join(lane: Lane): Lease {
    const { connection, identity, incarnation, writes } = lane.lease
    const sentAt = this.#clock.now()
    lane.sharing++
    return {
      connection,
      identity,
      incarnation,
      writes,
      release: discard => this.#leave(lane, discard === true),
      tookMs: () => {
        const now = this.#clock.now()
        const tookMs = now - Math.max(sentAt, lane.freeAt)
        lane.freeAt = now
        return tookMs
      },
    }
  }

  #leave(lane: Lane, discard: boolean): void {
    lane.sharing--
    lane.spoiled ||= discard
    this.#serveQueue(lane)
    if (lane.sharing > 0) return
    this.#lanes.delete(lane)
    // A statement that could not be sent leaves before the turn is over, and whoever gets the connection next has it alone.
    if (this.#gathering === lane) this.#gathering = undefined
    lane.lease.release(lane.spoiled)
    this.#disperse()
  }

  /** When nobody is left who would serve the queue, the first in it opens a connection for itself, and then for the others. */
  #disperse(): void {
    if (this.#lanes.size + this.#opening + this.#lent > 0) return
    const [first] = this.#queue
    if (first === undefined) return
    this.#queue.delete(first)
    // Not at once: when connections fail at once, each in the queue would be one frame deeper.
    this.#opening++
    setImmediate(() => {
      this.#opening--
      this.#open(first)
    })
  }

  #serveQueue(lane: Lane): void {
    if (this.#queue.size === 0 || lane.sharing > REFILL_AT || !this.#mayJoin(lane)) return
    batchWrites(lane.lease.connection)
    for (const waiting of this.#queue) {
      if (!this.#mayJoin(lane)) return
      this.#queue.delete(waiting)
      waiting(undefined, this.#join(lane))
    }
  }

  #enqueue(callback: LeaseCallback): void {
    const timer = this.#clock.setTimer(
      () => {
        if (this.#queue.delete(waiting)) callback(new Error('timeout exceeded when trying to connect'), undefined)
      },
      this.#timeoutMs,
      { keepAlive: true },
    )
    const waiting: LeaseCallback = (error, lease) => {
      timer.cancel()
      callback(error, lease)
    }
    this.#queue.add(waiting)
  }
}
