/**
 * One server: its pool, the monitor's connection, and the check that every new physical connection goes through before
 * its first use.
 *
 * **Why the check** (rule 1). A remembered position is a lower bound only within one incarnation. A server that was
 * restarted from an older copy, or another one that took over the address, accepts new connections long before the
 * monitor notices. So each connection is tagged with the incarnation it was opened to, and a read that was routed by a
 * remembered position is sent only on a connection of that same incarnation; otherwise the node is asked again, on that
 * very connection, and the read is decided anew.
 */
import type pg from 'pg'
import type { Clock } from '../../core/clock.js'
import type { Cluster } from '../../core/cluster.js'
import { lineageOf, type Observation, type Role } from '../../core/engine.js'
import type { Node } from '../../core/node.js'
import type { NodeSpec } from './config.js'
import { type Connection, type Driver, send } from './driver.js'
import {
  CHECK_QUERY,
  type CheckRow,
  identityOf,
  observationOf,
  POSITION_QUERY,
  type PositionRow,
  type ServerIdentity,
} from './position-query.js'
import { ReadLanes } from './read-lanes.js'

/** A checked connection, and the one way to give it back. */
export interface Lease {
  readonly connection: Connection
  readonly identity: ServerIdentity
  /** The history that this server writes, when it is a primary: it stays so for the life of a connection. */
  readonly writes: string | undefined
  /** Once. With `discard` the connection is closed instead of reused. Default false. */
  release(discard?: boolean): void
  /** To be called when a shared connection's statement has been answered: how long the server took for it. */
  tookMs?(): number
}

interface Tag {
  readonly identity: ServerIdentity
  readonly role: Role
  readonly writes: string | undefined
}

export class PostgresNode {
  readonly spec: NodeSpec
  readonly node: Node
  readonly pool: pg.Pool
  readonly #driver: Driver
  readonly #cluster: Cluster
  readonly #clock: Clock
  readonly #connectTimeoutMs: number
  readonly #tags = new WeakMap<pg.PoolClient, Tag>()
  readonly #lanes: ReadLanes
  #monitor: { readonly client: pg.Client; readonly identity: ServerIdentity } | undefined

  constructor(spec: NodeSpec, cluster: Cluster, driver: Driver, clock: Clock, connectTimeoutMs: number) {
    this.spec = spec
    this.#cluster = cluster
    this.node = cluster.node(spec.id)
    this.#driver = driver
    this.#clock = clock
    this.#connectTimeoutMs = connectTimeoutMs
    this.pool = spec.pool ?? new driver.Pool({ ...spec.clientConfig, ...PIPELINED })
    this.#lanes = new ReadLanes(this, clock, connectTimeoutMs)
    // An idle connection that breaks is the pool's to replace; without a listener it would end the process.
    if (spec.pool === undefined) this.pool.on('error', () => {})
  }

  get owned(): boolean {
    return this.spec.pool === undefined
  }

  /** A checked connection. Calls back with the driver's error when there is none within the deadline. */
  acquire(callback: (error: unknown, lease: Lease | undefined) => void): void {
    this.#connect((error, connection) => {
      if (connection === undefined) return callback(error, undefined)
      const tag = this.#tags.get(connection)
      if (tag !== undefined && tag.identity.incarnation === this.node.incarnation && tag.role === this.node.role) {
        return callback(undefined, this.#lease(connection, tag))
      }
      this.#check(connection, (problem, checked) => {
        if (checked !== undefined) return callback(undefined, this.#lease(connection, checked))
        connection.release(true)
        callback(problem, undefined)
      })
    })
  }

  /**
   * {@link acquire} as a promise. A statement that is `quick` may get a connection that it shares with others: only a
   * single read without any state may be sent on it, and it may not be cancelled.
   */
  acquired(options: { readonly quick?: boolean } = {}): Promise<Lease> {
    return new Promise((resolve, reject) => {
      const callback = (error: unknown, lease: Lease | undefined) => (lease === undefined ? reject(error) : resolve(lease))
      if (options.quick === true && this.owned && !this.spec.balanced) this.#lanes.acquire(callback)
      else this.acquire(callback)
    })
  }

  /** Asks the node where it is, on the monitor's own connection. */
  async probe(timeoutMs: number): Promise<Observation> {
    const deadline = this.#clock.now() + timeoutMs
    try {
      if (this.#monitor === undefined) return await this.#openMonitor(deadline)
      const sentAt = this.#clock.now()
      const { client, identity } = this.#monitor
      const { rows } = await this.#within(deadline, client.query<PositionRow>({ ...POSITION_QUERY }), client)
      return observationOf(rows[0]!, identity, sentAt, this.#clock.now())
    } catch (error) {
      this.#closeMonitor()
      throw error
    }
  }

  /** Asks the server to give up what `connection` is running. The caller must hold the connection until it answers. */
  async cancel(connection: Connection): Promise<void> {
    if (this.spec.balanced || this.#monitor === undefined || connection.processID === undefined)
      throw new Error('cannot cancel here')
    await this.#monitor.client.query('SELECT pg_cancel_backend($1)', [connection.processID])
  }

  /** Cuts a leased connection: whatever it is running fails at once. */
  cut(lease: Lease): void {
    destroy(lease.connection)
  }

  async close(): Promise<void> {
    this.#closeMonitor()
    if (this.owned) await this.pool.end()
  }

  #connect(callback: (error: unknown, connection: Connection | undefined) => void): void {
    const { options } = this.pool
    // A user's pool may wait for ever; nothing of ours does.
    let expired = false
    const timer = options.connectionTimeoutMillis
      ? undefined
      : this.#clock.setTimer(
          () => {
            expired = true
            callback(new Error('timeout exceeded when trying to connect'), undefined)
          },
          this.#connectTimeoutMs,
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
    // The driver emits "error" besides failing the query; without a listener that would end the process.
    if (!this.#tags.has(connection)) connection.on('error', () => {})
    const timer = this.#clock.setTimer(() => destroy(connection), this.#connectTimeoutMs, { keepAlive: true })
    send(connection, CHECK_QUERY.text, undefined, (error, result) => {
      timer.cancel()
      try {
        if (error) throw error
        const row = result.rows[0] as CheckRow
        const identity = identityOf(row)
        const seen = observationOf(row, identity, sentAt, this.#clock.now())
        const writes = seen.role === 'primary' && seen.epoch !== undefined ? lineageOf(seen.system, seen.epoch) : undefined
        const checked = { identity, role: seen.role, writes }
        this.#tags.set(connection, checked)
        this.#cluster.observe(this.node, seen)
        callback(undefined, checked)
      } catch (problem) {
        callback(problem)
      }
    })
  }

  #lease(connection: Connection, { identity, writes }: Tag): Lease {
    return { connection, identity, writes, release: discard => connection.release(discard) }
  }

  async #openMonitor(deadline: number): Promise<Observation> {
    const client = new this.#driver.Client(this.spec.clientConfig)
    client.on('error', () => this.#closeMonitor(client))
    client.on('end', () => this.#closeMonitor(client))
    try {
      await this.#within(deadline, client.connect(), client)
      const sentAt = this.#clock.now()
      const { rows } = await this.#within(deadline, client.query<CheckRow>(CHECK_QUERY.text), client)
      const row = rows[0]!
      const identity = identityOf(row)
      this.#monitor = { client, identity }
      // An application that has nothing else to do may end without closing us, as it may with a pool.
      ;(client as pg.Client & { unref(): void }).unref()
      return observationOf(row, identity, sentAt, this.#clock.now())
    } catch (error) {
      end(client)
      throw error
    }
  }

  #closeMonitor(client = this.#monitor?.client): void {
    if (client !== undefined && this.#monitor?.client === client) this.#monitor = undefined
    if (client !== undefined) end(client)
  }

  /** The answer, or an error at the deadline; a connection that did not answer in time is of no use any more. */
  async #within<T>(deadline: number, work: Promise<T>, client: pg.Client): Promise<T> {
    const leftMs = Math.max(1, deadline - this.#clock.now())
    let late = false
    const timer = this.#clock.setTimer(
      () => {
        late = true
        destroy(client)
      },
      leftMs,
      { keepAlive: true },
    )
    try {
      return await work
    } catch (error) {
      throw late ? new Error('did not answer in time', { cause: error }) : error
    } finally {
      timer.cancel()
    }
  }
}

/** Pools that are ours send a write and the question for its position together. */
const PIPELINED: object = { pipeline: true }

function end(client: pg.Client): void {
  client.end().catch(() => {})
}

/** Cuts the socket: pending and later queries fail at once. */
function destroy(client: pg.ClientBase): void {
  const { connection } = client as unknown as { connection?: { stream?: { destroy(): void } } }
  connection?.stream?.destroy()
}
