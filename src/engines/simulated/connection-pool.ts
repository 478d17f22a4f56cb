/**
 * The connections of one process to one address: at most so many, and each asked on opening who it leads to, before its first
 * use (rule 1). A connection of an earlier life of its server breaks with that life; one whose server has changed its role, or
 * behind an address with several servers, is asked again.
 */
import type { Clock, Timer } from '../../core/clock.js'
import type { Cluster } from '../../core/cluster.js'
import type { Observation, Role } from '../../core/engine.js'
import type { Lease } from '../../core/execution/engine.js'
import type { Node } from '../../core/node.js'
import type { Connection } from './connection.js'
import { identityOf, observationOf, type ServerIdentity, writesOf } from './position-answers.js'
import { ConnectionLostError, PoolTimeoutError } from './protocol.js'

/** A connection in use. */
export class SimulatedLease implements Lease {
  readonly connection: Connection
  identity!: ServerIdentity
  role!: Role
  writes: string | undefined
  readonly #giveBack: (lease: SimulatedLease, discard: boolean) => void

  constructor(connection: Connection, giveBack: (lease: SimulatedLease, discard: boolean) => void) {
    this.connection = connection
    this.#giveBack = giveBack
  }

  get incarnation(): string {
    return this.identity.incarnation
  }

  tag(identity: ServerIdentity, seen: Observation): void {
    this.identity = identity
    this.role = seen.role
    this.writes = writesOf(seen)
  }

  release(discard = false): void {
    this.#giveBack(this, discard)
  }
}

interface Waiting {
  readonly resolve: (lease: SimulatedLease) => void
  readonly reject: (error: unknown) => void
  readonly timer: Timer
  readonly leave: () => void
}

export interface PoolOptions {
  readonly node: Node
  readonly cluster: Cluster
  readonly clock: Clock
  readonly maxConnections: number
  readonly connectTimeoutMs: number
  readonly open: () => Connection
}

export class ConnectionPool {
  readonly #options: PoolOptions
  /** The one used last is used next. */
  readonly #idle: SimulatedLease[] = []
  readonly #inUse = new Set<SimulatedLease>()
  readonly #waiting: Waiting[] = []
  #opening = 0
  #closed = false
  #onQuiet: (() => void) | undefined

  constructor(options: PoolOptions) {
    this.#options = options
  }

  /** One at hand that leads to what the node is known to be now. */
  take(): SimulatedLease | undefined {
    const at = this.#idle.findLastIndex(lease => this.#isCurrent(lease))
    if (at < 0) return undefined
    const [lease] = this.#idle.splice(at, 1)
    this.#inUse.add(lease!)
    return lease
  }

  /** One at hand, or a new one, or the next to come free; checked. Rejects at the deadline or when the signal aborts. */
  acquire(signal?: AbortSignal): Promise<SimulatedLease> {
    if (signal?.aborted) return Promise.reject(signal.reason)
    return new Promise((resolve, reject) => {
      const { clock, connectTimeoutMs, node } = this.#options
      const give = (error: unknown) => {
        const at = this.#waiting.indexOf(waiting)
        if (at >= 0) this.#waiting.splice(at, 1)
        waiting.timer.cancel()
        waiting.leave()
        reject(error)
      }
      const abort = () => give(signal?.reason)
      signal?.addEventListener('abort', abort, { once: true })
      const waiting: Waiting = {
        resolve,
        reject,
        timer: clock.setTimer(() => give(new PoolTimeoutError(`no connection to ${node.id} in time`)), connectTimeoutMs),
        leave: () => signal?.removeEventListener('abort', abort),
      }
      this.#waiting.push(waiting)
      this.#serve()
    })
  }

  /** What runs may end within `graceMs`. */
  async close(graceMs: number): Promise<void> {
    this.#closed = true
    for (const waiting of this.#waiting.splice(0)) this.#fail(waiting, new ConnectionLostError('the pool is closed'))
    for (const lease of this.#idle.splice(0)) lease.connection.destroy()
    if (this.#inUse.size === 0) return
    await new Promise<void>(resolve => {
      const timer = this.#options.clock.setTimer(resolve, graceMs, { keepAlive: true })
      this.#onQuiet = () => {
        timer.cancel()
        resolve()
      }
    })
    for (const lease of this.#inUse) lease.connection.destroy()
  }

  #isCurrent({ connection, identity, role }: SimulatedLease): boolean {
    const { node } = this.#options
    return connection.broken === undefined && identity.incarnation === node.incarnation && role === node.role
  }

  /** Makes connections for those who wait, as far as the bound allows. */
  #serve(): void {
    while (this.#waiting.length > this.#opening && !this.#closed) {
      const lease = this.take()
      if (lease !== undefined) {
        this.#hand(lease)
        continue
      }
      const known = this.#idle.pop()
      if (known === undefined && this.#inUse.size + this.#opening >= this.#options.maxConnections) return
      if (known?.connection.broken !== undefined) continue
      this.#opening++
      void this.#prepare(known).then(
        ready => {
          this.#opening--
          this.#inUse.add(ready)
          this.#hand(ready)
        },
        error => {
          this.#opening--
          const waiting = this.#waiting.shift()
          if (waiting !== undefined) this.#fail(waiting, error)
          this.#serve()
        },
      )
    }
  }

  /** Opened if it is new, and asked who it leads to, within the deadline. */
  async #prepare(known: SimulatedLease | undefined): Promise<SimulatedLease> {
    const { clock, cluster, node, connectTimeoutMs, open } = this.#options
    const connection = known?.connection ?? open()
    const lease = known ?? new SimulatedLease(connection, this.#giveBack)
    const timer = clock.setTimer(() => connection.destroy(`${node.id} did not answer in time`), connectTimeoutMs)
    try {
      await connection.opened
      const sentAt = clock.now()
      const row = await connection.request({ kind: 'check' })
      const identity = identityOf(row)
      const seen = observationOf(row, identity, sentAt, clock.now())
      lease.tag(identity, seen)
      cluster.observe(node, seen)
      return lease
    } catch (error) {
      connection.destroy()
      throw error
    } finally {
      timer.cancel()
    }
  }

  readonly #giveBack = (lease: SimulatedLease, discard: boolean): void => {
    if (!this.#inUse.delete(lease)) throw new Error('a lease is released once')
    if (this.#inUse.size === 0) this.#onQuiet?.()
    if (discard || this.#closed) lease.connection.destroy()
    else if (lease.connection.broken === undefined) this.#idle.push(lease)
    this.#serve()
  }

  #hand(lease: SimulatedLease): void {
    const waiting = this.#waiting.shift()
    if (waiting === undefined) {
      lease.release()
      return
    }
    waiting.timer.cancel()
    waiting.leave()
    waiting.resolve(lease)
  }

  #fail({ reject, timer, leave }: Waiting, error: unknown): void {
    timer.cancel()
    leave()
    reject(error)
  }
}
