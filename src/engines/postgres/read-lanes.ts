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
 * The price of sharing is waiting behind one's neighbours. Hence the conditions:
 *
 * - only a few on one connection, and never while somebody waits for a connection of his own (a transaction would starve);
 * - only statements that have proved quick; while there are free connections, only those that take no longer than the monitor's
 *   question, which is as little as a statement can take, at any distance and under any load;
 * - only those of one text. Behind a read that waits for a table's lock, one of another table would wait for it too. If whoever
 *   holds the lock waits for that one, all three wait for ever, and no server sees it. Statements of one text want the same locks.
 */
import { LRUCache } from 'lru-cache'
import type { Clock } from '../../core/clock.js'
import type { Node, QuickKind } from '../../core/node.js'
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
  readonly #kinds = new LRUCache<string, { tookMs: number }>({ max: MAX_TEXTS })

  /** All statements of this text, if they have been quick; one never seen is not. */
  quick(text: string): QuickKind | undefined {
    const kind = this.#kinds.get(text)
    return kind !== undefined && kind.tookMs < QUICK_MS ? kind : undefined
  }

  note(text: string, ms: number): void {
    const kind = this.#kinds.get(text)
    if (kind === undefined) this.#kinds.set(text, { tookMs: ms })
    else kind.tookMs += SMOOTHING * (ms - kind.tookMs)
  }
}

/** One connection that reads share. */
class Lane {
  readonly lease: PooledLease
  readonly kind: QuickKind
  /** It takes in more until the turn of the event loop is over. */
  gathers = false
  sharing = 0
  spoiled = false
  /** When the statement before was answered: until then the next one was only waiting. */
  freeAt = Number.NEGATIVE_INFINITY
  constructor(lease: PooledLease, kind: QuickKind) {
    this.lease = lease
    this.kind = kind
  }
}

export class ReadLanes {
  readonly #node: Node
  readonly #connections: Connections
  readonly #clock: Clock
  readonly #timeoutMs: number
  readonly #lanes = new Set<Lane>()
  /** First come, first served; every entry leaves it at its deadline at the latest. */
  readonly #queue = new Map<LeaseCallback, QuickKind>()
  /** Connections that quick reads have to themselves: each becomes a lane when it is given back and others are queued. */
  #lent = 0
  /** Connections asked for and not had yet. */
  #opening = 0

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
  take(quick: QuickKind): Lease | undefined {
    const isFirst = this.#lanes.size + this.#lent === 0
    const mayGather = !isFirst && quick.tookMs <= this.#node.latencyMs && this.#queue.size === 0
    const open = mayGather ? this.#gathering(quick) : undefined
    const lease = open === undefined ? this.#connections.take() : open.lease
    if (lease === undefined || !mayGather || lease.connection.pipeline !== true) return lease && this.#lend(lease)
    const lane = open ?? this.#gather(lease, quick)
    // Not two servers for what one is about to be woken for: routers send the next of the kind here, until the turn is over.
    this.#node.gathers = lane.sharing + 1 < MAX_TOGETHER ? quick : undefined
    return this.#join(lane)
  }

  #gathering(kind: QuickKind): Lane | undefined {
    for (const lane of this.#lanes) {
      if (lane.gathers && lane.sharing < MAX_TOGETHER && this.#mayJoin(lane, kind)) return lane
    }
    return undefined
  }

  #gather(lease: PooledLease, kind: QuickKind): Lane {
    const lane = new Lane(lease, kind)
    this.#lanes.add(lane)
    lane.gathers = true
    batchWrites(lease.connection, () => {
      lane.gathers = false
      if (this.#node.gathers === kind) this.#node.gathers = undefined
    })
    return lane
  }

  /** A lease for one quick read, of its own if there is a free connection, else shared. */
  acquire(quick: QuickKind, callback: LeaseCallback): void {
    const free = this.#connections.freeCount > 0
    // Whoever comes later waits behind those who are queued, or a busy connection would never be down to REFILL_AT for them.
    const lane = free || this.#queue.size > 0 ? undefined : this.#leastShared(quick)
    if (lane !== undefined) callback(undefined, this.#join(lane))
    else if (free || this.#othersWait || this.#lanes.size + this.#opening + this.#lent === 0) this.#open(callback)
    else if (this.#queue.size < MAX_QUEUED) this.#enqueue(quick, callback)
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
    this.#passOn(lease, discard)
  }

  /** What nobody uses any more is for those who are queued, of the first one's kind; else it is given back. */
  #passOn(lease: PooledLease, discard: boolean): void {
    const [first] = this.#queue
    if (!discard && first !== undefined && !this.#othersWait) {
      const lane = new Lane(lease, first[1])
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

  #leastShared(kind: QuickKind): Lane | undefined {
    let best: Lane | undefined
    for (const lane of this.#lanes) {
      if (this.#mayJoin(lane, kind) && (best === undefined || lane.sharing < best.sharing)) best = lane
    }
    return best
  }

  #mayJoin(lane: Lane, kind: QuickKind): boolean {
    const { sharing, spoiled, lease } = lane
    return (
      lane.kind === kind &&
      sharing < MAX_SHARING &&
      !spoiled &&
      !this.#othersWait &&
      this.#connections.isCurrent(lease) &&
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
    // Maybe before the turn is over, by a read that could not be sent: whoever gets the connection next has it alone.
    this.#lanes.delete(lane)
    this.#passOn(lane.lease, lane.spoiled)
  }

  /** When nobody is left who would serve the queue, the first in it opens a connection for itself, and then for the others. */
  #disperse(): void {
    if (this.#lanes.size + this.#opening + this.#lent > 0) return
    const [first] = this.#queue.keys()
    if (first === undefined) return
    this.#queue.delete(first)
    // Not at once: when connections fail at once, each in the queue would be one frame deeper.
    this.#opening++
    setImmediate(() => {
      this.#opening--
      this.#open(first)
    })
  }

  /** In their order, up to the first of another kind: that one has the next connection that nobody uses. */
  #serveQueue(lane: Lane): void {
    if (this.#queue.size === 0 || lane.sharing > REFILL_AT) return
    let isBatched = false
    for (const [waiting, kind] of this.#queue) {
      if (!this.#mayJoin(lane, kind)) return
      if (!isBatched) batchWrites(lane.lease.connection)
      isBatched = true
      this.#queue.delete(waiting)
      waiting(undefined, this.#join(lane))
    }
  }

  #enqueue(kind: QuickKind, callback: LeaseCallback): void {
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
    this.#queue.set(waiting, kind)
  }
}
