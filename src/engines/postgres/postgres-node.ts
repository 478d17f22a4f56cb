/**
 * One server: its connections, and the monitor's own one.
 */
import type pg from 'pg'
import type { Clock } from '../../core/clock.js'
import type { Cluster } from '../../core/cluster.js'
import type { Observation } from '../../core/engine.js'
import type { EngineNode } from '../../core/execution/engine.js'
import type { Node, QuickKind } from '../../core/node.js'
import type { PostgresNodeSpec } from './config.js'
import { Connections, type Lease, type LeaseCallback } from './connections.js'
import { type Connection, type Driver, destroy, send } from './driver.js'
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

export class PostgresNode implements EngineNode<Lease> {
  readonly spec: PostgresNodeSpec
  readonly node: Node
  readonly #driver: Driver
  readonly #clock: Clock
  readonly #connections: Connections
  /** Connections that quick reads may share: only of a pool of ours, and only when they all lead to one server. */
  readonly #lanes: ReadLanes | undefined
  #closed: Promise<void> | undefined
  #monitor: { readonly client: pg.Client; readonly identity: ServerIdentity } | undefined

  constructor(spec: PostgresNodeSpec, cluster: Cluster, driver: Driver, clock: Clock, connectTimeoutMs: number) {
    this.spec = spec
    this.node = cluster.node(spec.id)
    this.#driver = driver
    this.#clock = clock
    this.#connections = new Connections(spec, this.node, cluster, driver, clock, connectTimeoutMs)
    if (this.owned && !spec.balanced) this.#lanes = new ReadLanes(this.node, this.#connections, clock, connectTimeoutMs)
  }

  get owned(): boolean {
    return this.spec.pool === undefined
  }

  get pool(): pg.Pool {
    return this.#connections.pool
  }

  /** Connections that are open and not in use. */
  get idleCount(): number {
    return this.#connections.idleCount
  }

  /** A checked connection, if one is at hand. `quick`: see {@link acquired}. */
  take(quick?: QuickKind): Lease | undefined {
    return quick !== undefined && this.#lanes !== undefined ? this.#lanes.take(quick) : this.#connections.take()
  }

  /**
   * A checked connection. Rejects with the driver's error when there is none within the deadline. A statement that is
   * `quick` may get a connection that it shares with others: only a single read without any state may be sent on it (and the
   * question for a position behind it), and it may not be cancelled. `signal` ends the wait for a connection.
   */
  acquired(quick?: QuickKind, signal?: AbortSignal): Promise<Lease> {
    if (signal?.aborted) return Promise.reject(signal.reason)
    return new Promise((resolve, reject) => {
      const abort = () => reject(signal?.reason)
      signal?.addEventListener('abort', abort, { once: true })
      const callback: LeaseCallback = (error, lease) => {
        signal?.removeEventListener('abort', abort)
        if (lease === undefined) reject(error)
        // It comes too late for somebody who has gone.
        else if (signal?.aborted) {
          lease.release()
          reject(signal.reason)
        } else resolve(lease)
      }
      if (quick !== undefined && this.#lanes !== undefined) this.#lanes.acquire(quick, callback)
      else this.#connections.acquire(callback)
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

  /** Asks the server behind a leased connection where it is, behind whatever was sent there. */
  locate({ connection, identity }: Lease): Promise<Observation> {
    const sentAt = this.#clock.now()
    return new Promise((resolve, reject) => {
      send(connection, { ...POSITION_QUERY }, undefined, (error, result) => {
        try {
          if (error) throw error
          resolve(observationOf(result.rows[0] as PositionRow, identity, sentAt, this.#clock.now()))
        } catch (problem) {
          reject(problem)
        }
      })
    })
  }

  /** Asks the server to give up what `connection` is running. The caller must hold the connection until it answers. */
  async cancel(connection: Connection): Promise<void> {
    if (this.spec.balanced || this.#monitor === undefined || connection.processID === undefined) {
      throw new Error('cannot cancel here')
    }
    await this.#monitor.client.query('SELECT pg_cancel_backend($1)', [connection.processID])
  }

  /** Asks the server to let `connection`'s commit return without waiting for standbys any longer, if it is doing that. */
  async endSyncWait(connection: Connection): Promise<void> {
    if (this.spec.balanced || this.#monitor === undefined || connection.processID === undefined) {
      throw new Error('cannot ask here')
    }
    const wait = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'SyncRep'"
    await this.#monitor.client.query(wait, [connection.processID])
  }

  /** Cuts a leased connection: whatever it is running fails at once. */
  cut(lease: Lease): void {
    destroy(lease.connection)
  }

  close(): Promise<void> {
    this.#closeMonitor()
    this.#closed ??= this.#connections.close()
    return this.#closed
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
      if (this.#closed !== undefined) throw new Error('closed')
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

function end(client: pg.Client): void {
  client.end().catch(() => {})
}
