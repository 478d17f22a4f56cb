import { ConfigurationError } from '../core/errors.js'
import { type AdminConnection, withConnection } from './admin-connection.js'
import { cloneRunning } from './cluster-files.js'
import { lastRecordEnd } from './last-record-end.js'
import { PostgresServer, type ServerEnvironment } from './postgres-server.js'
import { confirmDelay, hasReplayed, pauseReplay, resumeReplay } from './replay-control.js'
import { until } from './until.js'
import type { Workspace } from './workspace.js'

/** How long each operation of a cluster may take by default. */
export const OPERATION_TIMEOUT_MS = 30_000
const MAX_LAG_MS = 2_147_483_647

export interface TimeoutOption {
  /** Default: 30000. */
  readonly timeoutMs?: number | undefined
}

export interface PromoteOptions extends TimeoutOption {
  /** Whether the other replicas are made to follow the new primary. Default: true. */
  readonly repoint?: boolean | undefined
}

/** What `startCluster` has made. */
export interface ClusterParts {
  readonly workspace: Workspace
  readonly environment: ServerEnvironment
  readonly password: string
  /** The primary first. */
  readonly servers: readonly PostgresServer[]
}

/**
 * A real PostgreSQL primary and its streaming replicas; made by `startCluster`.
 *
 * Nodes are called `primary`, `replica-1`, `replica-2` …, and keep name and URL for life, whatever becomes of their role.
 * Every method throws `ConfigurationError` when it cannot apply to the node as it is (unknown, stopped, of the wrong role),
 * `ClusterTimeoutError` when what it waits for does not happen in time, and the driver's error when a server refuses.
 */
export class Cluster {
  readonly #parts: ClusterParts
  readonly #servers = new Map<string, PostgresServer>()
  readonly #replicas = new Set<string>()
  #lastReplica: number
  #primary: string
  #closing: Promise<void> | undefined

  /** @internal */
  constructor(parts: ClusterParts) {
    this.#parts = parts
    this.#primary = parts.servers[0]!.name
    this.#lastReplica = parts.servers.length - 1
    for (const server of parts.servers) {
      this.#servers.set(server.name, server)
      if (server.name !== this.#primary) this.#replicas.add(server.name)
    }
  }

  /** The name of the node that is the primary: the first, or the last one promoted. It may be stopped. */
  get primary(): string {
    return this.#primary
  }

  /** The names of the replicas, also of stopped ones. Not of a former primary. */
  get replicas(): readonly string[] {
    return [...this.#replicas]
  }

  /** The names of all nodes. */
  get nodes(): readonly string[] {
    return [...this.#servers.keys()]
  }

  /** The URLs of all nodes, in the order of `nodes`. */
  get urls(): readonly string[] {
    return this.nodes.map(node => this.url(node))
  }

  /** `postgres://postgres:password@127.0.0.1:port/postgres`. The user is a superuser. */
  url(node: string): string {
    return `postgres://postgres:${encodeURIComponent(this.#parts.password)}@127.0.0.1:${this.#server(node).port}/postgres`
  }

  /** Whether the node is running. A frozen node is. */
  isRunning(node: string): boolean {
    return this.#server(node).running
  }

  /** Runs one statement as superuser and returns its rows. Each call has a connection of its own. Gives up after 30 s. */
  async query<Row extends object = Record<string, unknown>>(
    node: string,
    sql: string,
    values?: readonly unknown[],
  ): Promise<Row[]> {
    return this.#connected(this.#runningServer(node), {}, connection => connection.query<Row>(sql, values))
  }

  /**
   * Makes the replica apply each commit only `ms` milliseconds after the primary made it; 0 ends that. Effective on return for every
   * commit that the replica has not applied yet (on a paused replica: within a second), and across restarts.
   *
   * PostgreSQL holds back commit records only. It applies in order, so nothing after a held-back commit is applied either; but what
   * is not transactional, such as a sequence, shows as soon as nothing is held back before it.
   */
  async lag(node: string, ms: number, options: TimeoutOption = {}): Promise<void> {
    if (!Number.isInteger(ms) || ms < 0 || ms > MAX_LAG_MS) {
      throw new ConfigurationError(`lag: ${ms} is not a number of milliseconds; expected a whole number from 0 to ${MAX_LAG_MS}.`)
    }
    const replica = this.#replica(node)
    replica.settings.set('recovery_min_apply_delay', `${ms}ms`)
    replica.reload()
    await this.#connected(replica, options, connection => confirmDelay(connection, node, ms, timeoutOf(options)))
  }

  /** Stops the replica from applying anything. It goes on receiving and answering. On return nothing more is applied. A restart ends it. */
  async pause(node: string, options: TimeoutOption = {}): Promise<void> {
    await this.#connected(this.#replica(node), options, connection => pauseReplay(connection, node, timeoutOf(options)))
  }

  /** Ends a pause. Does not wait for anything to be applied: `caughtUp` does. */
  async resume(node: string, options: TimeoutOption = {}): Promise<void> {
    await this.#connected(this.#replica(node), options, resumeReplay)
  }

  /** Crashes PostgreSQL on the node (immediate shutdown) and waits until it is down. Commits survive, asynchronous ones excepted. */
  async kill(node: string, options: TimeoutOption = {}): Promise<void> {
    await this.#server(node).shutDown('immediate', { timeoutMs: timeoutOf(options) })
  }

  /**
   * Shuts the node down in order (fast shutdown). A primary first sends everything to the replicas that are connected; a frozen one
   * holds it up for a minute, so `kill` or `thaw` comes first then.
   */
  async stop(node: string, options: TimeoutOption = {}): Promise<void> {
    await this.#server(node).shutDown('fast', { timeoutMs: timeoutOf(options) })
  }

  /**
   * Starts a node that is down, at its old URL, and waits until it answers queries; does nothing if it is running.
   * A former primary comes back as what it was: a second primary.
   */
  async start(node: string, options: TimeoutOption = {}): Promise<void> {
    const server = this.#server(node)
    if (!server.running) await server.start({ timeoutMs: timeoutOf(options) })
  }

  /** `stop`, then `start`. */
  async restart(node: string, options: TimeoutOption = {}): Promise<void> {
    await this.stop(node, options)
    await this.start(node, options)
  }

  /** Stops all processes of the node in their tracks: it accepts connections and never answers. `kill` and `stop` still work. */
  async freeze(node: string, options: TimeoutOption = {}): Promise<void> {
    const server = this.#server(node)
    if (!server.frozen) await this.#runningServer(node).freeze({ timeoutMs: timeoutOf(options) })
  }

  /** Ends a freeze; the node goes on where it was. */
  async thaw(node: string): Promise<void> {
    this.#server(node).thaw()
  }

  /**
   * Makes the replica the primary, and waits until it takes writes. The other replicas are told to follow it, unless
   * `repoint: false`; `caughtUp` waits until they do. The old primary is left as it is: if it runs, there are two.
   */
  async promote(node: string, options: PromoteOptions = {}): Promise<void> {
    const timeoutMs = timeoutOf(options)
    const promoted = this.#replica(node)
    await this.#connected(promoted, options, async connection => {
      await connection.query('select pg_promote(wait => false)')
      const isPrimary = async () =>
        (await connection.query<{ done: boolean }>('select not pg_is_in_recovery() as done'))[0]?.done === true
      await until(isPrimary, { timeoutMs, describe: () => `"${node}" was the primary` })
    })
    this.#primary = node
    this.#replicas.delete(node)
    promoted.settings.clear()
    if (options.repoint === false) return
    for (const replica of this.#replicas) {
      const server = this.#server(replica)
      follow(server, promoted, this.#parts.password)
      server.reload()
    }
  }

  /** Adds a replica, copied from the running primary, and waits until it answers queries. Returns its name. */
  async addReplica(options: TimeoutOption = {}): Promise<string> {
    const primary = this.#runningServer(this.#primary)
    this.#lastReplica++
    const server = new PostgresServer(`replica-${this.#lastReplica}`, this.#parts.environment)
    follow(server, primary, this.#parts.password)
    await this.#connected(primary, options, connection =>
      cloneRunning(primary.dataDirectory, server.dataDirectory, connection, this.#parts.environment),
    )
    await server.start({ timeoutMs: timeoutOf(options) })
    this.#servers.set(server.name, server)
    this.#replicas.add(server.name)
    return server.name
  }

  /**
   * Waits until the replica streams from the primary and has applied everything that the primary had written when this was called.
   * Without a name: all replicas that are running and not frozen.
   */
  async caughtUp(node?: string, options: TimeoutOption = {}): Promise<void> {
    const deadline = performance.now() + timeoutOf(options)
    const isAwake = (name: string) => this.#server(name).running && !this.#server(name).frozen
    const replicas = node === undefined ? this.replicas.filter(isAwake) : [node]
    await this.#connected(this.#runningServer(this.#primary), options, async onPrimary => {
      const [primary] = await onPrimary.query<{ lsn: string }>('select pg_current_wal_insert_lsn() as lsn')
      for (const name of replicas) {
        await this.#connected(this.#replica(name), options, async onReplica => {
          const condition = () => hasReplayed(onPrimary, onReplica, name, lastRecordEnd(primary!.lsn))
          const describe = () => `"${name}" had caught up with "${this.#primary}" at ${primary!.lsn}`
          await until(condition, { timeoutMs: deadline - performance.now(), describe })
        })
      }
    })
  }

  /** Ends all servers and removes their files. Calling it again changes nothing. */
  close(): Promise<void> {
    this.#closing ??= this.#parts.workspace.remove()
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #server(node: string): PostgresServer {
    if (this.#closing) throw new ConfigurationError('This test cluster is closed.')
    const server = this.#servers.get(node)
    if (server) return server
    throw new ConfigurationError(`The test cluster has no node "${node}"; it has ${this.nodes.join(', ')}.`)
  }

  #runningServer(node: string): PostgresServer {
    const server = this.#server(node)
    if (!server.running) throw new ConfigurationError(`"${node}" is not running. Call start("${node}") first.`)
    if (server.frozen) throw new ConfigurationError(`"${node}" is frozen and cannot answer. Call thaw("${node}") first.`)
    return server
  }

  #replica(node: string): PostgresServer {
    const server = this.#runningServer(node)
    if (!this.#replicas.has(node)) throw new ConfigurationError(`"${node}" is not a replica; ${this.replicas.join(', ')} are.`)
    return server
  }

  #connected<Result>(
    server: PostgresServer,
    options: TimeoutOption,
    action: (connection: AdminConnection) => Promise<Result>,
  ): Promise<Result> {
    return withConnection(this.url(server.name), timeoutOf(options), action)
  }
}

/** Makes a standby stream from a primary, from its next start or `reload` on. */
export function follow(standby: PostgresServer, primary: PostgresServer, password: string): void {
  const quoted = password.replaceAll(/[\\']/g, '\\$&')
  const conninfo = `host=127.0.0.1 port=${primary.port} user=postgres password='${quoted}' application_name=${standby.name}`
  standby.settings.set('primary_conninfo', `${conninfo} sslmode=disable`)
}

function timeoutOf(options: TimeoutOption): number {
  return options.timeoutMs ?? OPERATION_TIMEOUT_MS
}
