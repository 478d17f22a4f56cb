import { AsyncLocalStorage } from 'node:async_hooks'
import type pg from 'pg'
import { systemClock } from '../../core/clock.js'
import { Database, type ExplainOptions } from '../../core/database/database.js'
import { ConfigurationError } from '../../core/errors.js'
import type { Explanation } from '../../core/explain.js'
import type { Node } from '../../core/node.js'
import type { SessionOptions, Tokens } from '../../core/session.js'
import type { Stats } from '../../core/stats.js'
import { COMMITTED } from '../../core/write-policy.js'
import { type Canary, type CanaryOptions, PostgresCanary } from './canary.js'
import { CatalogClassifier } from './catalog-classifier.js'
import { joiningSpec, type NodeAddress, nodeSpecs, type PostgresNodeSpec, type TidemarkConfig } from './config.js'
import type { Lease } from './connections.js'
import { type Driver, loadDriver, type QueryInput } from './driver.js'
import { RoutedClient } from './pool/routed-client.js'
import { createRoutedPool, type RoutedPool, type RoutedPoolOptions } from './pool/routed-pool.js'
import { postgresEngine } from './postgres-engine.js'
import type { PostgresNode } from './postgres-node.js'
import type { PrimaryQuery } from './postgres-token-store.js'
import { standbysWaitedFor } from './remote-apply.js'
import { PostgresSession, type PostgresSessionContext, type QueryOptions } from './session.js'
import { loadParser } from './statement/index.js'
import { Statements } from './statements.js'
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
  readonly name: string
  /** As OpenTelemetry calls it. */
  readonly system = 'postgresql'
  /** The explicit way to say that staleness is fine: any healthy replica serves. */
  readonly eventual: Eventual
  readonly #driver: Driver
  readonly #config: TidemarkConfig
  readonly #database: Database<Lease, PostgresNodeSpec, PostgresNode>
  readonly #statements: Statements
  readonly #classifier: CatalogClassifier
  readonly #context: PostgresSessionContext
  readonly #scope = new AsyncLocalStorage<PostgresSession>()
  readonly #canaries = new Set<PostgresCanary>()
  #closed: Promise<void> | undefined

  /** @internal Use {@link tidemark}. */
  constructor(config: TidemarkConfig, driver: Driver) {
    const specs = nodeSpecs(config)
    const clock = config.clock ?? systemClock
    this.#config = config
    this.#driver = driver
    const database = new Database<Lease, PostgresNodeSpec, PostgresNode>(postgresEngine(driver, clock, config), specs, config)
    this.#database = database
    this.name = database.cluster.name
    this.#classifier = new CatalogClassifier(() => this.#nodesForCatalog(), clock, config.scopes === 'tables', this.name)
    this.#statements = new Statements({
      executor: database.executor,
      classifier: this.#classifier,
      tableScopes: config.scopes === 'tables',
      warn: message => database.warn(message),
    })
    const { store } = config
    if (store !== undefined) database.keepPositionsIn(typeof store === 'function' ? store(this.#onPrimary) : store)
    this.#context = {
      ...database.sessions,
      statements: this.#statements,
      createClient: scope => new RoutedClient({ statements: this.#statements, driver, scope: () => scope }),
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
        this.#statements.run('eventual', input, values, options) as Promise<pg.QueryResult<R>>,
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
    await this.#database.addNode(joiningSpec(address, this.#config))
  }

  /**
   * A server leaves while everything runs: nothing is sent to it from here on, what runs there is waited for, and its pool is
   * closed if it is ours. Rejects with {@link ConfigurationError} when there is no such node, when it is the primary and in
   * use, or when a quorum could not be reached any more: nothing has changed then.
   */
  async removeNode(name: string): Promise<void> {
    await this.#database.removeNode(name)
  }

  /**
   * Starts a canary: every so often it writes to a table of its own and reads back through the ladder, from the primary, and from
   * each replica that can be used. What comes of it is published as `tidemark:canary`. It fails no query and throws nothing, save
   * {@link ConfigurationError} here for options that cannot work; it ends with `stop()` or the database.
   */
  canary(options: CanaryOptions = {}): Canary {
    if (this.#closed !== undefined) throw new ConfigurationError('the database is closed; no canary can be started on it')
    const database = this.#database
    const canary = new PostgresCanary(
      {
        name: this.name,
        clock: database.clock,
        session: () => this.session(undefined, { quiet: true }),
        replicas: () => database.cluster.nodes.filter(isOneReplica).map(({ id }) => id),
        refreshCatalog: () => this.#classifier.refresh(),
        warn: (message, cause) => database.warn(message, cause),
        ended: ended => this.#canaries.delete(ended),
      },
      options,
    )
    this.#canaries.add(canary)
    return canary
  }

  /** What is known of each node now. */
  status(): NodeStatus[] {
    return this.#database.status().map(statusOf)
  }

  /** What this database, and any other of its name in this process, has done since it was opened. */
  stats(): Stats {
    return this.#database.stats()
  }

  /** Reads that are parked until a replica has caught up. */
  get waiting(): number {
    return this.#database.waiting
  }

  /** Where a read of a client with this token would go now, and why. Asks nobody and changes nothing. */
  explain(token: string | undefined, options: ExplainOptions = {}): Explanation {
    return this.#database.explain(token, options)
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
    await this.#database.start()
    await this.#classifier.refresh()
    if (this.#database.writePolicy?.remoteApply) await this.#compareQuorums()
  }

  /** What the primary itself waits for, against what the write policy says. Tidemark waits for its own number anyway. */
  async #compareQuorums(): Promise<void> {
    const { writePolicy, acknowledgedBy: needed } = this.#database
    try {
      const { rows } = await this.#statements.run('primary', 'SHOW synchronous_standby_names', undefined)
      const names = String(rows[0]?.synchronous_standby_names ?? '')
      const waitsFor = standbysWaitedFor(names) + 1
      if (waitsFor === needed) return
      this.#database.warn(
        `the write policy ${writePolicy?.name} waits for ${needed} nodes, and the primary's synchronous_standby_names = '${names}' for ${waitsFor}, itself included. ` +
          (waitsFor < needed
            ? 'An acknowledged write may then be lost in a failover. '
            : 'Commits then wait longer than needed. ') +
          `Set it to 'ANY ${needed - 1} (…)' on every server.`,
      )
    } catch (cause) {
      this.#database.warn('the primary could not be asked for synchronous_standby_names', cause)
    }
  }

  /** For a token store in the database itself. */
  readonly #onPrimary: PrimaryQuery = (text, values) => this.#statements.run('primary', text, values, { writePolicy: COMMITTED })

  #createPool(options: Pick<RoutedPoolOptions, 'scope' | 'onEnd' | 'forwards'>): RoutedPool {
    return createRoutedPool({ statements: this.#statements, driver: this.#driver, nodes: this.#database.nodes, ...options })
  }

  /** The primary knows the newest catalog; a replica's is better than none. */
  #nodesForCatalog(): readonly PostgresNode[] {
    const { cluster, nodes } = this.#database
    const usable = nodes.filter(({ node }) => node.usable)
    return usable.sort((a, b) => Number(b.node === cluster.primary) - Number(a.node === cluster.primary))
  }

  async #shutDown(): Promise<void> {
    await Promise.all([...this.#canaries].map(canary => canary.stop()))
    this.#classifier.stop()
    await this.#database.close()
    // Where it stands on async hooks (Node 20), it slows every promise of the process for as long as it is not told to end.
    this.#scope.disable()
  }
}

function isOneReplica({ usable, role, balanced }: Node): boolean {
  return usable && role === 'replica' && !balanced
}
