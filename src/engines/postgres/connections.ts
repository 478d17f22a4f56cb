/**
 * The connections to one server: a pool, and the check that every new physical connection goes through before its first
 * use.
 *
 * **Why the check** (rule 1). A remembered position is a lower bound only within one incarnation. A server that was
 * restarted from an older copy, or another one that took over the address, accepts new connections long before the
 * monitor notices. So each connection is tagged with the incarnation it was opened to, and a read that was routed by a
 * remembered position is sent only on a connection of that same incarnation; otherwise the node is asked again, on that
 * very connection, and the read is decided anew.
 *
 * Of a pool of ours, connections are kept back for a moment after use: most are wanted again at once, and going through
 * the pool costs more than deciding where to read. Nobody waits for one that is kept back, and none is kept for long, so
 * the pool's own limits still hold.
 */
import type pg from 'pg'
import type { Clock, Timer } from '../../core/clock.js'
import type { Cluster } from '../../core/cluster.js'
import { lineageOf, type Role } from '../../core/engine.js'
import type { Lease as EngineLease } from '../../core/execution/engine.js'
import type { Node } from '../../core/node.js'
import type { PostgresNodeSpec } from './config.js'
import { type Connection, type Driver, destroy, send } from './driver.js'
import { CHECK_QUERY, type CheckRow, identityOf, observationOf, type ServerIdentity } from './position-query.js'

/** A checked connection, and the one way to give it back. */
export interface Lease extends EngineLease {
  readonly connection: Connection
  readonly identity: ServerIdentity
  /** To be called when a shared connection's statement has been answered: how long the server took for it. */
  tookMs?(): number
}

/** What a connection was found to lead to when it was opened. */
interface Tag {
  readonly identity: ServerIdentity
  readonly role: Role
  readonly writes: string | undefined
  broken: boolean
}

export class PooledLease implements Lease {
  readonly connection: Connection
  readonly tag: Tag
  /** When it left the pool. */
  readonly since: number
  keptSince = 0
  returnTo: (lease: PooledLease, discard: boolean) => void

  constructor(connection: Connection, tag: Tag, since: number, returnTo: (lease: PooledLease, discard: boolean) => void) {
    this.connection = connection
    this.tag = tag
    this.since = since
    this.returnTo = returnTo
  }
  get identity(): ServerIdentity {
    return this.tag.identity
  }
  get incarnation(): string {
    return this.tag.identity.incarnation
  }
  get writes(): string | undefined {
    return this.tag.writes
  }
  release(discard = false): void {
    this.returnTo(this, discard)
  }
}

export type LeaseCallback<L extends Lease = Lease> = (error: unknown, lease: L | undefined) => void

/** A connection that nobody has wanted for this long goes back to the pool. */
const KEEP_MS = 100
/** One that is wanted all the time goes back to the pool this often, which may retire it. */
const MAX_HELD_MS = 1_000
/** What still runs this long after `close()` is cut off. */
const CLOSE_GRACE_MS = 5_000

export class Connections {
  readonly pool: pg.Pool
  readonly #owned: boolean
  readonly #node: Node
  readonly #cluster: Cluster
  readonly #clock: Clock
  readonly #timeoutMs: number
  readonly #tags = new WeakMap<pg.PoolClient, Tag>()
  /** At most as many as the pool has connections; the one used last is used next. */
  readonly #kept: PooledLease[] = []
  /** All that have left the pool. */
  readonly #out = new Set<PooledLease>()
  #sweeper: Timer | undefined
  #closing = false

  constructor(spec: PostgresNodeSpec, node: Node, cluster: Cluster, driver: Driver, clock: Clock, timeoutMs: number) {
    this.#node = node
    this.#cluster = cluster
    this.#clock = clock
    this.#timeoutMs = timeoutMs
    this.#owned = spec.pool === undefined
    this.pool = spec.pool ?? new driver.Pool({ ...spec.clientConfig, ...PIPELINED })
    // An idle connection that breaks is the pool's to replace; without a listener it would end the process.
    if (this.#owned) this.pool.on('error', () => {})
  }

  get idleCount(): number {
    return this.pool.idleCount + this.#kept.length
  }

  /** How many more could be had at once. */
  get freeCount(): number {
    const { pool } = this
    return this.idleCount + pool.options.max - pool.totalCount - pool.waitingCount
  }

  /** A connection that was kept back, if there is one: at once, and without a promise. */
  take(): PooledLease | undefined {
    for (let lease = this.#kept.pop(); lease !== undefined; lease = this.#kept.pop()) {
      if (this.isCurrent(lease)) return lease
      this.#toPool(lease, lease.tag.broken)
    }
    return undefined
  }

  /** Whether it is whole and leads to what the node is now: only then may one more use it. */
  isCurrent({ tag }: Pick<PooledLease, 'tag'>): boolean {
    return !tag.broken && tag.identity.incarnation === this.#node.incarnation && tag.role === this.#node.role
  }

  /** A checked connection. Calls back with the driver's error when there is none within the deadline. */
  acquire(callback: LeaseCallback<PooledLease>): void {
    const kept = this.take()
    if (kept !== undefined) {
      callback(undefined, kept)
      return
    }
    this.#connect((error, connection) => {
      if (connection === undefined) return callback(error, undefined)
      const tag = this.#tags.get(connection)
      if (tag !== undefined && this.isCurrent({ tag })) return callback(undefined, this.#lease(connection, tag))
      this.#check(connection, (problem, checked) => {
        if (checked !== undefined) return callback(undefined, this.#lease(connection, checked))
        connection.release(true)
        callback(problem, undefined)
      })
    })
  }

  /** Gives a lease back: kept for the next user, or to the pool. */
  readonly giveBack = (lease: PooledLease, discard: boolean): void => {
    const now = this.#clock.now()
    if (discard || !this.#owned || this.#closing || this.pool.waitingCount > 0 || now - lease.since > MAX_HELD_MS) {
      this.#toPool(lease, discard)
      return
    }
    lease.keptSince = now
    this.#kept.push(lease)
    this.#sweeper ??= this.#clock.setTimer(() => this.#sweep(), KEEP_MS)
  }

  async close(): Promise<void> {
    this.#closing = true
    this.#sweeper?.cancel()
    for (const lease of this.#kept.splice(0)) this.#toPool(lease, false)
    if (!this.#owned) return
    const cut = this.#clock.setTimer(
      () => {
        for (const { connection } of this.#out) destroy(connection)
      },
      CLOSE_GRACE_MS,
      { keepAlive: true },
    )
    await this.pool.end()
    cut.cancel()
  }

  #lease(connection: Connection, tag: Tag): PooledLease {
    const lease = new PooledLease(connection, tag, this.#clock.now(), this.giveBack)
    this.#out.add(lease)
    return lease
  }

  #toPool(lease: PooledLease, discard: boolean): void {
    this.#out.delete(lease)
    lease.connection.release(discard)
  }

  #sweep(): void {
    const before = this.#clock.now() - KEEP_MS
    // The longest unused come first.
    const stale = this.#kept.findIndex(lease => lease.keptSince > before)
    for (const lease of this.#kept.splice(0, stale < 0 ? this.#kept.length : stale)) this.#toPool(lease, lease.tag.broken)
    this.#sweeper = this.#kept.length === 0 ? undefined : this.#clock.setTimer(() => this.#sweep(), KEEP_MS)
  }

  #connect(callback: (error: unknown, connection: Connection | undefined) => void): void {
    // A user's pool may wait for ever; nothing of ours does.
    let expired = false
    const timer = this.pool.options.connectionTimeoutMillis
      ? undefined
      : this.#clock.setTimer(
          () => {
            expired = true
            callback(new Error('timeout exceeded when trying to connect'), undefined)
          },
          this.#timeoutMs,
          { keepAlive: true },
        )
    this.pool.connect((error, connection) => {
      timer?.cancel()
      if (expired) connection?.release()
      else callback(error, connection as Connection | undefined)
    })
  }

  #check(connection: Connection, callback: (error: unknown, tag?: Tag) => void): void {
    const sentAt = this.#clock.now()
    const isNew = !this.#tags.has(connection)
    // The driver emits "error" besides failing the query; without a listener that would end the process.
    if (isNew) connection.on('error', error => this.#broke(connection, error))
    if (isNew) connection.on('end', () => this.#broke(connection))
    const timer = this.#clock.setTimer(() => destroy(connection), this.#timeoutMs, { keepAlive: true })
    send(connection, CHECK_QUERY.text, undefined, (error, result) => {
      timer.cancel()
      try {
        if (error) throw error
        const row = result.rows[0] as CheckRow
        const identity = identityOf(row)
        const seen = observationOf(row, identity, sentAt, this.#clock.now())
        const writes = seen.role === 'primary' && seen.epoch !== undefined ? lineageOf(seen.system, seen.epoch) : undefined
        const tag = { identity, role: seen.role, writes, broken: false }
        this.#tags.set(connection, tag)
        this.#cluster.observe(this.#node, seen)
        callback(undefined, tag)
      } catch (problem) {
        callback(problem)
      }
    })
  }

  #broke(connection: Connection, error?: Error): void {
    const tag = this.#tags.get(connection)
    if (tag !== undefined) tag.broken = true
    const at = this.#kept.findIndex(lease => lease.connection === connection)
    if (at < 0) return
    // To everybody else it is an idle connection of the pool: replaced by the pool, which says so.
    for (const lease of this.#kept.splice(at, 1)) this.#toPool(lease, true)
    if (error !== undefined) this.pool.emit('error', error, connection)
  }
}

/** Pools that are ours send a write and the question for its position together. */
const PIPELINED: object = { pipeline: true }
