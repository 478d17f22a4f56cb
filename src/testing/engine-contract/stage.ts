/** What the cases of the contract have in hand: a cluster, databases on it that are closed for them, and waits that end. */
import assert from 'node:assert/strict'
import { type Clock, systemClock } from '../../core/clock.js'
import { Cluster } from '../../core/cluster.js'
import { Database } from '../../core/database/database.js'
import type { DatabaseConfig } from '../../core/database/database-config.js'
import type { Observation } from '../../core/engine.js'
import type { EngineNode, Lease, NodeSpec } from '../../core/execution/engine.js'
import { Session } from '../../core/session.js'
import type { ConsistencyToken } from '../../core/token/codec.js'
import type { ContractClient, ContractCluster } from './engine-under-test.js'

/** Says nothing about speed. */
const PATIENCE_MS = 15_000
const PAUSE_MS = 5

type AnyNode = EngineNode & { readonly spec: NodeSpec }

/** One database on the cluster, and who uses it. */
export interface Opened {
  readonly database: Database<Lease, NodeSpec, AnyNode>
  readonly client: ContractClient
  session(token?: ConsistencyToken): Session
  node(name: string): AnyNode
}

export interface OpenOptions extends Omit<DatabaseConfig, 'secret' | 'onWarning' | 'clock'> {
  /** Default: all nodes of the cluster. */
  readonly specs?: readonly NodeSpec[]
}

export class Stage {
  readonly cluster: ContractCluster
  readonly clock: Clock
  readonly #patienceMs: number
  readonly #closing: (() => Promise<void>)[] = []
  readonly #held = new Set<Lease>()

  constructor(cluster: ContractCluster) {
    this.cluster = cluster
    this.clock = cluster.clock ?? systemClock
    this.#patienceMs = cluster.patienceMs ?? PATIENCE_MS
  }

  /** A key that nobody has written yet. */
  newKey(): string {
    return `key ${++keys}`
  }

  get nodes(): readonly string[] {
    return [this.cluster.primary, ...this.cluster.replicas]
  }

  async open({ specs = this.nodes.map(node => this.cluster.spec(node)), ...config }: OpenOptions = {}): Promise<Opened> {
    const database = new Database<Lease, NodeSpec, AnyNode>(this.cluster.engine, specs, {
      ...config,
      secret: 'a secret of the engine contract',
      onWarning: () => {},
      clock: this.clock,
    })
    this.#closing.push(() => database.close())
    await this.settled(database.start(), 'the start of a database')
    const client = this.cluster.client(database.executor)
    return {
      database,
      client,
      session: token => new Session(database.sessions, token, { guarantee: config.guarantee }),
      node: name => database.nodes.find(({ spec }) => spec.id === name)!,
    }
  }

  /** The engine's node by itself: no monitor asks it. */
  bare(name: string): AnyNode {
    const spec = this.cluster.spec(name)
    const node = this.cluster.engine.connect(spec, new Cluster([spec]))
    this.#closing.push(() => node.close())
    return node
  }

  /** Whatever `work` does to the cluster, `undo` is done at the end of the case. */
  finally(undo: () => Promise<void>): void {
    this.#closing.push(undo)
  }

  /** A connection, at hand or not. To be given back by {@link release}; when a case fails before, it is closed for it. */
  async acquire(node: EngineNode): Promise<Lease> {
    const lease = node.take() ?? (await this.settled(node.acquired(), `a connection to ${node.spec.id}`))
    this.#held.add(lease)
    return lease
  }

  release(lease: Lease, discard = false): void {
    if (this.#held.delete(lease)) lease.release(discard)
  }

  /** What the server behind a connection of this node says. */
  async where(node: EngineNode): Promise<Observation> {
    const lease = await this.acquire(node)
    const seen = await this.settled(node.locate(lease), `the position of ${node.spec.id}`)
    this.release(lease)
    return seen
  }

  async until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
    const deadline = this.clock.now() + this.#patienceMs
    while (!(await condition())) {
      assert.ok(this.clock.now() < deadline, `not within ${this.#patienceMs} ms: ${what}`)
      await new Promise<void>(resolve => this.clock.setTimer(resolve, PAUSE_MS, { keepAlive: true }))
    }
  }

  /** `work`, or an error when it hangs. */
  async settled<T>(work: Promise<T>, what: string): Promise<T> {
    let cancel = () => {}
    const hangs = new Promise<never>((_, reject) => {
      const fail = () => reject(new assert.AssertionError({ message: `hangs: ${what}` }))
      const timer = this.clock.setTimer(fail, this.#patienceMs, { keepAlive: true })
      cancel = () => timer.cancel()
    })
    try {
      return await Promise.race([work, hangs])
    } finally {
      cancel()
    }
  }

  /** What `work` fails with; an assertion fails when it does not. */
  failure(work: Promise<unknown>, what: string): Promise<unknown> {
    const failing = work.then(
      () => SUCCEEDED,
      (error: unknown) => error,
    )
    const failed = this.settled(failing, what).then(outcome => {
      assert.notEqual(outcome, SUCCEEDED, `must fail: ${what}`)
      return outcome
    })
    // A case that fails before it looks at this one is not to end the process.
    failed.catch(() => {})
    return failed
  }

  /** Ends what the case has begun, the newest first. */
  async end(): Promise<void> {
    for (const lease of this.#held) this.release(lease, true)
    for (const close of this.#closing.splice(0).reverse()) await this.settled(close(), 'the end of a case')
  }
}

const SUCCEEDED = Symbol('succeeded')
/** Clusters of one engine may be the same one: keys must differ between stages. */
let keys = 0
