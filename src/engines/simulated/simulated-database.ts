import type { Clock } from '../../core/clock.js'
import { Database } from '../../core/database/database.js'
import { checkBounds, type DatabaseConfig } from '../../core/database/database-config.js'
import type { NodeStatus } from '../../core/database/node-status.js'
import type { SessionOptions, Tokens } from '../../core/session.js'
import type { TokenStore } from '../../core/token-store.js'
import type { SimulatedLease } from './connection-pool.js'
import type { ServerCluster } from './server-cluster.js'
import type { ServerProcess } from './server-process.js'
import { type SimulatedEngineOptions, simulatedEngine } from './simulated-engine.js'
import type { SimulatedNode, SimulatedNodeSpec } from './simulated-node.js'
import {
  type ReadOptions,
  readKeys,
  SimulatedSession,
  type SimulatedSessionContext,
  type WriteOptions,
  writeValues,
} from './simulated-session.js'
import type { Row, WriteValues } from './statements.js'

export interface SimulatedDatabaseConfig extends DatabaseConfig, SimulatedEngineOptions {
  readonly clock: Clock
  /** Nothing may come from elsewhere than the seed, so it has to be given. */
  readonly secret: string | readonly string[]
  /** Default: all servers of the cluster, each by its own address. */
  readonly nodes?: readonly SimulatedNodeSpec[]
  /** Users' positions across devices. */
  readonly store?: TokenStore
}

/** Reads and writes that ask for no guarantee. */
export interface SimulatedEventual {
  read(keys: readonly string[], options?: ReadOptions): Promise<readonly Row[]>
}

/** Tidemark in one process of a simulated world. Resolves when every node has been asked once: the simulation must run. */
export async function simulatedDatabase(
  cluster: ServerCluster<ServerProcess>,
  config: SimulatedDatabaseConfig,
): Promise<SimulatedDatabase> {
  const db = new SimulatedDatabase(cluster, config)
  try {
    await db.start()
    return db
  } catch (error) {
    await db.close()
    throw error
  }
}

export class SimulatedDatabase {
  /** The explicit way to say that staleness is fine. */
  readonly eventual: SimulatedEventual
  readonly #database: Database<SimulatedLease, SimulatedNodeSpec, SimulatedNode>
  readonly #context: SimulatedSessionContext
  readonly #config: SimulatedDatabaseConfig

  /** @internal Use {@link simulatedDatabase}. */
  constructor(cluster: ServerCluster<ServerProcess>, config: SimulatedDatabaseConfig) {
    checkBounds(config, ['maxConnections', 'connectTimeoutMs', 'statementTimeoutMs'])
    const specs = config.nodes ?? cluster.ids.map(id => ({ id, region: cluster.server(id).region }))
    cluster.place(config.from, config.region)
    const onWarning = (message: string) => cluster.simulation.note(message)
    const database = new Database<SimulatedLease, SimulatedNodeSpec, SimulatedNode>(simulatedEngine(cluster, config), specs, {
      onWarning,
      ...config,
    })
    if (config.store !== undefined) database.keepPositionsIn(config.store)
    this.#database = database
    this.#config = config
    const { executor } = database
    this.#context = { ...database.sessions, executor }
    this.eventual = { read: (keys, options = {}) => readKeys(executor, 'eventual', keys, options) }
  }

  /** As of every engine: goes on from what the client carried. */
  session(tokens?: Tokens, options: SessionOptions = {}): SimulatedSession {
    return new SimulatedSession(this.#context, tokens, { guarantee: this.#config.guarantee, ...options })
  }

  /** A write outside any session, on the primary. */
  write(values: WriteValues, options: WriteOptions = {}): Promise<readonly Row[]> {
    return writeValues(this.#context.executor, 'primary', values, options)
  }

  /** A server joins while everything runs. See `Database.addNode`. */
  addNode(spec: SimulatedNodeSpec): Promise<void> {
    return this.#database.addNode(spec)
  }

  /** A server leaves while everything runs. See `Database.removeNode`. */
  removeNode(id: string): Promise<void> {
    return this.#database.removeNode(id)
  }

  /** What is known of each node now. */
  status(): NodeStatus[] {
    return this.#database.status()
  }

  /** @internal The core's own parts, for checking invariants. */
  get core(): Database<SimulatedLease, SimulatedNodeSpec, SimulatedNode> {
    return this.#database
  }

  /** Ends pollers and connections. Idempotent; takes virtual time while statements run. */
  close(): Promise<void> {
    return this.#database.close()
  }

  /** @internal */
  start(): Promise<void> {
    return this.#database.start()
  }
}
