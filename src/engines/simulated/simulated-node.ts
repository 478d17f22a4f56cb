/** One address as one process uses it: its pool, and the monitor's own connection. */
import type { Clock } from '../../core/clock.js'
import type { Cluster } from '../../core/cluster.js'
import type { Observation } from '../../core/engine.js'
import type { EngineNode, NodeSpec, OlderEpoch } from '../../core/execution/engine.js'
import type { Node } from '../../core/node.js'
import type { Connection } from './connection.js'
import { ConnectionPool, type SimulatedLease } from './connection-pool.js'
import { identityOf, observationOf, olderEpochs, type ServerIdentity } from './position-answers.js'

export interface SimulatedNodeSpec extends NodeSpec {
  /** Where it is to be found. Default: the id. */
  readonly address?: string | undefined
}

export interface SimulatedNodeOptions {
  readonly clock: Clock
  readonly maxConnections: number
  readonly connectTimeoutMs: number
  readonly statementTimeoutMs: number
  readonly open: (address: string) => Connection
}

const CLOSE_GRACE_MS = 5_000

export class SimulatedNode implements EngineNode<SimulatedLease> {
  readonly spec: SimulatedNodeSpec
  readonly node: Node
  readonly #options: SimulatedNodeOptions
  readonly #pool: ConnectionPool
  #monitor: { readonly connection: Connection; readonly identity: ServerIdentity } | undefined
  #closed = false

  constructor(spec: SimulatedNodeSpec, cluster: Cluster, options: SimulatedNodeOptions) {
    this.spec = spec
    this.node = cluster.node(spec.id)
    this.#options = options
    this.#pool = new ConnectionPool({ ...options, node: this.node, cluster, open: () => this.#open() })
  }

  take(): SimulatedLease | undefined {
    return this.#pool.take()
  }

  acquired(_quick?: unknown, signal?: AbortSignal): Promise<SimulatedLease> {
    return this.#pool.acquire(signal)
  }

  probe(timeoutMs: number): Promise<Observation> {
    const { clock } = this.#options
    const known = this.#monitor
    const connection = known?.connection ?? this.#open()
    return this.#within(timeoutMs, connection, async () => {
      if (known !== undefined) {
        const sentAt = clock.now()
        return observationOf(await connection.request({ kind: 'position' }), known.identity, sentAt, clock.now())
      }
      await connection.opened
      const sentAt = clock.now()
      const row = await connection.request({ kind: 'check' })
      const identity = identityOf(row)
      if (this.#closed) throw new Error('closed')
      this.#monitor = { connection, identity }
      return observationOf(row, identity, sentAt, clock.now())
    })
  }

  async locate({ connection, identity }: SimulatedLease): Promise<Observation> {
    const sentAt = this.#options.clock.now()
    return observationOf(await connection.request({ kind: 'position' }), identity, sentAt, this.#options.clock.now())
  }

  cut({ connection }: SimulatedLease): void {
    connection.destroy('did not answer in time')
  }

  /** Cuts the connection when what runs on it takes too long, or when the signal aborts. Returns how to call it off. */
  watch(lease: SimulatedLease, signal: AbortSignal | undefined): () => void {
    const cut = () => this.cut(lease)
    const timer = this.#options.clock.setTimer(cut, this.#options.statementTimeoutMs)
    if (signal?.aborted) cut()
    signal?.addEventListener('abort', cut, { once: true })
    return () => {
      timer.cancel()
      signal?.removeEventListener('abort', cut)
    }
  }

  /** The record of the timelines before `epoch`, if the server that answers is on that one. Never rejects. */
  history(epoch: number, timeoutMs: number): Promise<readonly OlderEpoch[] | undefined> {
    const connection = this.#open()
    const asked = this.#within(timeoutMs, connection, async () => {
      await connection.opened
      const rows = await connection.request({ kind: 'timeline-history' })
      return rows.timeline === epoch ? olderEpochs(rows) : undefined
    })
    return asked.catch(() => undefined).finally(() => connection.destroy())
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#monitor?.connection.destroy()
    await this.#pool.close(CLOSE_GRACE_MS)
  }

  #open(): Connection {
    return this.#options.open(this.spec.address ?? this.spec.id)
  }

  /** The answer, or an error by the deadline; then the connection is of no use any more. */
  async #within<T>(timeoutMs: number, connection: Connection, work: () => Promise<T>): Promise<T> {
    const timer = this.#options.clock.setTimer(() => connection.destroy('did not answer in time'), timeoutMs)
    try {
      return await work()
    } catch (error) {
      connection.destroy()
      if (this.#monitor?.connection === connection) this.#monitor = undefined
      throw error
    } finally {
      timer.cancel()
    }
  }
}
