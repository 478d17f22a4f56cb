import { AsyncLocalStorage } from 'node:async_hooks'
import type pg from 'pg'
import { systemClock } from '../../core/clock.js'
import { Cluster } from '../../core/cluster.js'
import { ConfigurationError } from '../../core/errors.js'
import { publish } from '../../core/events.js'
import { DEFAULT_LADDER } from '../../core/ladder.js'
import { Monitor } from '../../core/monitor.js'
import { Router } from '../../core/router.js'
import type { SessionOptions, Tokens } from '../../core/session.js'
import { secretOrRandom, TokenCodec } from '../../core/token/codec.js'
import { WaitingRoom } from '../../core/waiting-room.js'
import { CatalogClassifier } from './catalog-classifier.js'
import { DEFAULTS, nodeSpecs, type TidemarkConfig } from './config.js'
import { type Driver, loadDriver, type QueryInput } from './driver.js'
import { Executor } from './executor.js'
import { RoutedClient } from './pool/routed-client.js'
import { createRoutedPool, type RoutedPool, type RoutedPoolOptions } from './pool/routed-pool.js'
import { PostgresNode } from './postgres-node.js'
import { PostgresSession, type PostgresSessionContext, type QueryOptions } from './session.js'
import { loadParser } from './statement/index.js'
import { type NodeStatus, statusOf } from './status.js'

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
  readonly #nodes: readonly PostgresNode[]
  readonly #executor: Executor
  readonly #classifier: CatalogClassifier
  readonly #context: PostgresSessionContext
  readonly #config: TidemarkConfig
  readonly #scope = new AsyncLocalStorage<PostgresSession>()
  #closed: Promise<void> | undefined

  /** @internal Use {@link tidemark}. */
  constructor(config: TidemarkConfig, driver: Driver) {
    const specs = nodeSpecs(config)
    const clock = config.clock ?? systemClock
    this.#config = config
    this.#driver = driver
    const codec = new TokenCodec({ secret: secretOrRandom(config.secret, message => this.#warn(message)), clock })
    this.#cluster = new Cluster(specs, { region: config.region })
    this.#waitingRoom = new WaitingRoom(this.#cluster, clock, { maxWaiting: config.maxWaiting ?? DEFAULTS.maxWaiting })
    this.#nodes = specs.map(
      spec => new PostgresNode(spec, this.#cluster, driver, clock, config.connectTimeoutMs ?? DEFAULTS.connectTimeoutMs),
    )
    const byId = new Map(this.#nodes.map(node => [node.node.id, node]))
    this.#monitor = new Monitor(this.#cluster, this.#waitingRoom, (id, timeoutMs) => byId.get(id)!.probe(timeoutMs), clock, {
      pollIntervalMs: config.pollIntervalMs ?? DEFAULTS.pollIntervalMs,
      pollTimeoutMs: config.pollTimeoutMs ?? DEFAULTS.pollTimeoutMs,
    })
    this.#classifier = new CatalogClassifier(() => this.#nodesForCatalog(), clock)
    this.#executor = new Executor({
      cluster: this.#cluster,
      router: new Router(this.#cluster, this.#waitingRoom, clock),
      monitor: this.#monitor,
      classifier: this.#classifier,
      nodes: new Map(this.#nodes.map(node => [node.node, node])),
      ladder: config.ladder ?? DEFAULT_LADDER,
      clock,
      warn: (message, cause) => this.#warn(message, cause),
    })
    this.#context = {
      codec,
      clock,
      store: config.store,
      storeTimeoutMs: config.storeTimeoutMs ?? DEFAULTS.storeTimeoutMs,
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
    this.#waitingRoom.close()
    await Promise.all(this.#nodes.map(node => node.close()))
  }

  #warn(message: string, cause?: unknown): void {
    publish('tidemark:warning', () => ({ message, cause }))
    if (this.#config.onWarning !== undefined) this.#config.onWarning(message)
    else process.emitWarning(message, 'TidemarkWarning')
  }
}
