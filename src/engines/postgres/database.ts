import { AsyncLocalStorage } from 'node:async_hooks'
import type pg from 'pg'
import { type Clock, systemClock, type Timer } from '../../core/clock.js'
import { Cluster } from '../../core/cluster.js'
import type { Probe } from '../../core/engine.js'
import { ConfigurationError } from '../../core/errors.js'
import { publish } from '../../core/events.js'
import type { Ladder } from '../../core/ladder.js'
import { Monitor } from '../../core/monitor.js'
import type { Node } from '../../core/node.js'
import { Position } from '../../core/position.js'
import { checkQuorums } from '../../core/quorum.js'
import { Router } from '../../core/router.js'
import type { SessionOptions, Tokens } from '../../core/session.js'
import { SessionCaches } from '../../core/session-cache.js'
import { StoredPositions } from '../../core/stored-positions.js'
import { secretOrRandom, TokenCodec } from '../../core/token/codec.js'
import { WaitingRoom } from '../../core/waiting-room.js'
import { COMMITTED, type WritePolicy } from '../../core/write-policy.js'
import { CatalogClassifier } from './catalog-classifier.js'
import { DEFAULTS, joiningSpec, type NodeAddress, type NodeSpec, nodeSpecs, strategyOf, type TidemarkConfig } from './config.js'
import { type Driver, loadDriver, type QueryInput } from './driver.js'
import { Executor } from './executor.js'
import { Judge } from './judge.js'
import { RoutedClient } from './pool/routed-client.js'
import { createRoutedPool, type RoutedPool, type RoutedPoolOptions } from './pool/routed-pool.js'
import { PostgresNode } from './postgres-node.js'
import { standbysWaitedFor } from './remote-apply.js'
import { PostgresSession, type PostgresSessionContext, type QueryOptions } from './session.js'
import { loadParser } from './statement/index.js'
import { type NodeStatus, statusOf } from './status.js'
import { readTimelineHistory } from './timeline-history.js'

/** A failover's record is read within this time, or counts as not to be had. */
const HISTORY_TIMEOUT_MS = 1_000
const EXPIRY_INTERVAL_MS = 60_000

/** Reads and writes that ask for no guarantee. */
export interface Eventual {
  readonly pool: RoutedPool
  query<R extends pg.QueryResultRow = pg.QueryResultRow>(
    input: QueryInput,
    values?: readonly unknown[],
    options?: QueryOptions,
  ): Promise<pg.QueryResult<R>>
}

/**
 * Connects to a PostgreSQL primary and its streaming replicas.
 *
 * Asks every node once before it resolves. A node that cannot be used is warned about and left out until it can be;
 * rejects with {@link ConfigurationError} when the configuration cannot work, or when not one node can be used.
 */
export async function tidemark(config: TidemarkConfig): Promise<Tidemark> {
  const [driver] = await Promise.all([loadDriver(), loadParser()])
  const db = new Tidemark(config, driver)
  try {
    await db.start()
    return db
  } catch (error) {
    await db.close()
    throw error
  }
}

export class Tidemark {
  /** A `pg.Pool`: statements belong to the session in scope (`session.run`, the HTTP middleware); without one, to the primary. */
  readonly pool: RoutedPool
  /** The explicit way to say that staleness is fine: any healthy replica serves. */
  readonly eventual: Eventual
  readonly #driver: Driver
  readonly #cluster: Cluster
  readonly #monitor: Monitor
  readonly #waitingRoom: WaitingRoom
  readonly #nodes: PostgresNode[]
  /** The same, as the executor looks them up. */
  readonly #byNode: Map<Node, PostgresNode>
  readonly #clock: Clock
  readonly #executor: Executor
  readonly #classifier: CatalogClassifier
  readonly #context: PostgresSessionContext
  readonly #config: TidemarkConfig
  readonly #ladder: Ladder
  readonly #writePolicy: WritePolicy | undefined
  readonly #stored: StoredPositions | undefined
  #expiry: Timer | undefined
  readonly #scope = new AsyncLocalStorage<PostgresSession>()
  #closed: Promise<void> | undefined

  /** @internal Use {@link tidemark}. */
  constructor(config: TidemarkConfig, driver: Driver) {
    const specs = nodeSpecs(config)
    const clock = config.clock ?? systemClock
    const { ladder, writePolicy } = strategyOf(config)
    this.#config = config
    this.#ladder = ladder
    this.#writePolicy = writePolicy
    this.#driver = driver
    const codec = new TokenCodec({ secret: secretOrRandom(config.secret, message => this.#warn(message)), clock })
    this.#cluster = new Cluster(specs, { region: config.region })
    this.#waitingRoom = new WaitingRoom(this.#cluster, clock, { maxWaiting: config.maxWaiting ?? DEFAULTS.maxWaiting })
    this.#clock = clock
    this.#nodes = specs.map(spec => this.#createNode(spec))
    this.#byNode = new Map(this.#nodes.map(node => [node.node, node]))
    const probe: Probe = (id, timeoutMs) => this.#byNode.get(this.#cluster.node(id))!.probe(timeoutMs)
    this.#monitor = new Monitor(this.#cluster, this.#waitingRoom, probe, clock, {
      pollIntervalMs: config.pollIntervalMs ?? DEFAULTS.pollIntervalMs,
      pollTimeoutMs: config.pollTimeoutMs ?? DEFAULTS.pollTimeoutMs,
    })
    this.#classifier = new CatalogClassifier(() => this.#nodesForCatalog(), clock, config.scopes === 'tables')
    const router = new Router(this.#cluster, this.#waitingRoom, clock)
    router.writeQuorum = () => this.#acknowledgedBy()
    const readHistory = (node: Node, timeline: number) =>
      readTimelineHistory(driver, this.#byNode.get(node)!.spec.clientConfig, timeline, HISTORY_TIMEOUT_MS, clock)
    this.#executor = new Executor({
      cluster: this.#cluster,
      router,
      monitor: this.#monitor,
      classifier: this.#classifier,
      nodes: this.#byNode,
      judge: new Judge(this.#cluster, this.#monitor, readHistory, clock),
      caches: new SessionCaches(config.sessionCache),
      ladder,
      writePolicy,
      lostWrites: config.lostWrites ?? 'reissue',
      tableScopes: config.scopes === 'tables',
      clock,
      warn: (message, cause) => this.#warn(message, cause),
    })
    const store =
      typeof config.store === 'function'
        ? config.store((text, values) => this.#executor.run('primary', text, values, { writePolicy: COMMITTED }))
        : config.store
    this.#stored = store && new StoredPositions(store, clock, config.storeTimeoutMs ?? DEFAULTS.storeTimeoutMs)
    this.#context = {
      codec,
      clock,
      stored: this.#stored,
      executor: this.#executor,
      createClient: scope => new RoutedClient({ executor: this.#executor, driver, scope: () => scope }),
      createPool: scope => this.#createPool({ scope: () => scope, onEnd: async () => {}, forwards: scope === 'eventual' }),
      runInScope: (session, work) => this.#scope.run(session, work),
    }
    this.pool = this.#createPool({
      scope: () => this.#scope.getStore() ?? 'primary',
      onEnd: () => this.close(),
      forwards: true,
    })
    this.eventual = {
      pool: this.#context.createPool('eventual'),
      query: <R extends pg.QueryResultRow>(input: QueryInput, values?: readonly unknown[], options?: QueryOptions) =>
        this.#executor.run('eventual', input, values, options) as Promise<pg.QueryResult<R>>,
    }
  }

  /**
   * A session that goes on from what its client carried: a token, several (they are joined), or nothing. A token that is
   * not acceptable counts as none; this never throws because of one.
   */
  session(tokens?: Tokens, options: SessionOptions = {}): PostgresSession {
    return new PostgresSession(this.#context, tokens, { guarantee: this.#config.guarantee, ...options })
  }

  /** The session that `db.pool` would use here, if any. */
  get currentSession(): PostgresSession | undefined {
    return this.#scope.getStore()
  }

  /**
   * A server joins while everything runs: takes what the configuration takes, and resolves when the node has been asked once.
   * Rejects with {@link ConfigurationError} when it is listed already, or when the quorums would not meet any more with
   * one node more: nothing has changed then. Finish it in every process before the next node joins or leaves.
   */
  async addNode(address: NodeAddress): Promise<void> {
    if (this.#closed !== undefined) throw new ConfigurationError('the database is closed; no node can join it')
    const spec = joiningSpec(
      address,
      this.#config,
      this.#nodes.map(({ spec: { id } }) => id),
    )
    const acknowledged = this.#acknowledgedBy()
    const node = this.#cluster.add(spec)
    let created: PostgresNode
    try {
      checkQuorums(this.#ladder, this.#writePolicy, this.#cluster, acknowledged)
      created = this.#createNode(spec)
    } catch (error) {
      this.#cluster.remove(node)
      throw error
    }
    this.#nodes.push(created)
    this.#byNode.set(node, created)
    await this.#monitor.add(node)
    try {
      this.#refuseTwins()
    } catch (error) {
      await this.removeNode(spec.id)
      throw error
    }
    if (!node.usable) this.#warn(`a node is not used until it can be: ${node.id}: ${node.problem?.reason}`)
  }

  /**
   * A server leaves while everything runs: nothing is sent to it from here on, what runs there is waited for, and its pool is
   * closed if it is ours. Rejects with {@link ConfigurationError} when there is no such node, when it is the primary and in
   * use, or when a quorum could not be reached any more: nothing has changed then.
   */
  async removeNode(name: string): Promise<void> {
    const leaving = this.#nodes.find(({ spec }) => spec.id === name)
    if (leaving === undefined) {
      throw new ConfigurationError(`no node "${name}"; the nodes are ${this.#nodes.map(({ spec }) => spec.id).join(', ')}`)
    }
    const { node, spec } = leaving
    if (node === this.#cluster.primary && node.usable) {
      throw new ConfigurationError(`${name} is the primary; promote another node before it leaves`)
    }
    const rest = this.#cluster.nodes.filter(each => each !== node)
    // One copy of each write may leave with it.
    checkQuorums(this.#ladder, this.#writePolicy, { nodes: rest }, Math.max(0, this.#acknowledgedBy() - 1))
    this.#cluster.remove(node)
    this.#monitor.remove(node)
    this.#nodes.splice(this.#nodes.indexOf(leaving), 1)
    await leaving.close()
    this.#byNode.delete(node)
    if (spec.declaredPrimary) this.#warn(`${name}, which was declared the primary, has left; the roles are discovered anyway`)
  }

  /** At how many nodes every write is that has been acknowledged. */
  #acknowledgedBy(): number {
    return this.#writePolicy?.acknowledgedBy(this.#cluster.nodes.length) ?? 1
  }

  #createNode(spec: NodeSpec): PostgresNode {
    const timeoutMs = this.#config.connectTimeoutMs ?? DEFAULTS.connectTimeoutMs
    return new PostgresNode(spec, this.#cluster, this.#driver, this.#clock, timeoutMs)
  }

  /** What is known of each node now. */
  status(): NodeStatus[] {
    const now = this.#context.clock.now()
    return this.#cluster.nodes.map(node => statusOf(node, this.#cluster, now))
  }

  /** Ends what Tidemark owns: pollers, monitors' connections, pools it made. Waiting reads go on down their ladders. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#shutDown()
    return this.#closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** @internal */
  async start(): Promise<void> {
    checkQuorums(this.#ladder, this.#writePolicy, this.#cluster)
    await this.#monitor.start()
    this.#refuseTwins()
    const unusable = this.#cluster.nodes.filter(node => !node.usable)
    const reasons = unusable.map(node => `${node.id}: ${node.problem?.reason}`)
    if (unusable.length === this.#cluster.nodes.length) {
      throw new ConfigurationError(`no node can be used. ${reasons.join('; ')}`, { cause: unusable[0]?.problem?.cause })
    }
    for (const reason of reasons) this.#warn(`a node is not used until it can be: ${reason}`)
    if (this.#cluster.nodes.length > unusable.length && !this.#cluster.nodes.some(node => node.role === 'replica')) {
      this.#warn('no replica can be used: every read goes to the primary')
    }
    if (this.#cluster.primary === undefined) this.#warn('no primary is known: writes will fail until one is')
    await this.#classifier.refresh()
    if (this.#writePolicy?.remoteApply) await this.#compareQuorums()
    if (this.#stored !== undefined) this.#expireLater(this.#stored)
  }

  /** What the primary itself waits for, against what the write policy says. Tidemark waits for its own number anyway. */
  async #compareQuorums(): Promise<void> {
    const needed = this.#acknowledgedBy()
    try {
      const { rows } = await this.#executor.run('primary', 'SHOW synchronous_standby_names', undefined)
      const names = String(rows[0]?.synchronous_standby_names ?? '')
      const waitsFor = standbysWaitedFor(names) + 1
      if (waitsFor === needed) return
      this.#warn(
        `the write policy ${this.#writePolicy?.name} waits for ${needed} nodes, and the primary's synchronous_standby_names = '${names}' for ${waitsFor}, itself included. ` +
          (waitsFor < needed
            ? 'An acknowledged write may then be lost in a failover. '
            : 'Commits then wait longer than needed. ') +
          `Set it to 'ANY ${needed - 1} (…)' on every server.`,
      )
    } catch (cause) {
      this.#warn('the primary could not be asked for synchronous_standby_names', cause)
    }
  }

  /** What every replica has applied, the store need not keep for ever. */
  #expireLater(stored: StoredPositions): void {
    this.#expiry = this.#context.clock.setTimer(() => {
      const applied = this.#appliedByAll()
      void (applied === undefined ? Promise.resolve() : stored.expire(applied)).then(() => {
        if (this.#closed === undefined) this.#expireLater(stored)
      })
    }, EXPIRY_INTERVAL_MS)
  }

  /** Rule 6; unknown is not applied, so one replica that cannot be asked keeps everything. */
  #appliedByAll(): Position | undefined {
    const { nodes, primary, lineage } = this.#cluster
    if (lineage === undefined) return undefined
    let least: bigint | undefined
    for (const node of nodes) {
      if (node === primary) continue
      if (!node.usable || node.lineage !== lineage || node.applied === undefined) return undefined
      if (least === undefined || node.applied < least) least = node.applied
    }
    return least === undefined ? undefined : Position.at(lineage, least)
  }

  #refuseTwins(): void {
    const seen = new Map<string, string>()
    for (const { id, incarnation, balanced } of this.#cluster.nodes) {
      if (incarnation === undefined || balanced) continue
      const twin = seen.get(incarnation)
      if (twin !== undefined) throw new ConfigurationError(`${twin} and ${id} are two addresses of the same server; list it once`)
      seen.set(incarnation, id)
    }
  }

  #createPool(options: Pick<RoutedPoolOptions, 'scope' | 'onEnd' | 'forwards'>): RoutedPool {
    return createRoutedPool({ executor: this.#executor, driver: this.#driver, nodes: this.#nodes, ...options })
  }

  /** The primary knows the newest catalog; a replica's is better than none. */
  #nodesForCatalog(): readonly PostgresNode[] {
    const usable = this.#nodes.filter(({ node }) => node.usable)
    return usable.sort((a, b) => Number(b.node === this.#cluster.primary) - Number(a.node === this.#cluster.primary))
  }

  async #shutDown(): Promise<void> {
    this.#monitor.stop()
    this.#classifier.stop()
    this.#stored?.close()
    this.#expiry?.cancel()
    this.#waitingRoom.close()
    await Promise.all(this.#nodes.map(node => node.close()))
  }

  #warn(message: string, cause?: unknown): void {
    publish('tidemark:warning', () => ({ message, cause }))
    if (this.#config.onWarning !== undefined) this.#config.onWarning(message)
    else process.emitWarning(message, 'TidemarkWarning')
  }
}
