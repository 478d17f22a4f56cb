import { catchUp } from './catching-up.js'
import type { ClusterNodes } from './cluster-nodes.js'
import {
  type AddReplicaOptions,
  checkWhole,
  MAX_MS,
  OPERATION_TIMEOUT_MS,
  type PromoteOptions,
  type TimeoutOption,
  timeoutOf,
  type UrlOptions,
} from './cluster-options.js'
import type { Link } from './link.js'
import { addReplica, promote, rejoin } from './membership.js'
import { pauseReceiver, resumeReceiver } from './receiver-control.js'
import { confirmDelay, pauseReplay, resumeReplay } from './replay-control.js'

/**
 * A real PostgreSQL primary and its streaming replicas; made by `startCluster`.
 *
 * Nodes are called `primary`, `replica-1`, `replica-2` …, and keep name and URL for life, whatever becomes of their role.
 * Every method throws `ConfigurationError` when it cannot apply to the node as it is (unknown, stopped, of the wrong role),
 * `ClusterTimeoutError` when what it waits for does not happen in time, and the driver's error when a server refuses.
 */
export class Cluster {
  readonly #nodes: ClusterNodes

  /** @internal */
  constructor(nodes: ClusterNodes) {
    this.#nodes = nodes
  }

  /** The name of the node that is the primary: the first, or the last one promoted. It may be stopped. */
  get primary(): string {
    return this.#nodes.primary
  }

  /** The names of the replicas, also of stopped ones. Not of a former primary. */
  get replicas(): readonly string[] {
    return [...this.#nodes.replicas.keys()]
  }

  /** The names of all nodes. */
  get nodes(): readonly string[] {
    return this.#nodes.names
  }

  /** The URLs of all nodes, in the order of `nodes`. */
  get urls(): readonly string[] {
    return this.nodes.map(node => this.url(node))
  }

  /**
   * `postgres://postgres:password@127.0.0.1:port/postgres`. The user is a superuser. In a cluster with `links` it leads through the
   * node's network link, and with `direct: true` past it.
   */
  url(node: string, options: UrlOptions = {}): string {
    const server = this.#nodes.server(node)
    return this.#nodes.url(server, options.direct ? server.port : this.#nodes.parts.links.portOf(server))
  }

  /** Whether the node is running. A frozen node is. */
  isRunning(node: string): boolean {
    return this.#nodes.server(node).running
  }

  /** Runs one statement as superuser and returns its rows. Each call has a connection of its own. Gives up after 30 s. */
  async query<Row extends object = Record<string, unknown>>(
    node: string,
    sql: string,
    values?: readonly unknown[],
  ): Promise<Row[]> {
    const server = this.#nodes.runningServer(node)
    return this.#nodes.connected(server, OPERATION_TIMEOUT_MS, connection => connection.query<Row>(sql, values))
  }

  /**
   * Makes the replica apply each commit only `ms` milliseconds after the primary made it; 0 ends that. Effective on return for every
   * commit that the replica has not applied yet (on a paused replica: within a second), and across restarts.
   *
   * PostgreSQL holds back commit records only. It applies in order, so nothing after a held-back commit is applied either; but what
   * is not transactional, such as a sequence, shows as soon as nothing is held back before it.
   */
  async lag(node: string, ms: number, options: TimeoutOption = {}): Promise<void> {
    checkWhole('lag', ms, 'milliseconds', [0, MAX_MS])
    const timeoutMs = timeoutOf(options)
    const replica = this.#nodes.replica(node)
    replica.settings.set('recovery_min_apply_delay', `${ms}ms`)
    replica.reload()
    await this.#nodes.connected(replica, timeoutMs, connection => confirmDelay(connection, node, ms, timeoutMs))
  }

  /** Stops the replica from applying anything. It goes on receiving and answering. On return nothing more is applied. A restart ends it. */
  async pause(node: string, options: TimeoutOption = {}): Promise<void> {
    const timeoutMs = timeoutOf(options)
    await this.#nodes.connected(this.#nodes.replica(node), timeoutMs, connection => pauseReplay(connection, node, timeoutMs))
  }

  /** Ends a pause. Does not wait for anything to be applied: `caughtUp` does. */
  async resume(node: string, options: TimeoutOption = {}): Promise<void> {
    await this.#nodes.connected(this.#nodes.replica(node), timeoutOf(options), resumeReplay)
  }

  /**
   * Makes the replica receive nothing more, as if the way to its upstream were cut; it goes on applying what it has, and answering.
   * In force on return, until `resumeReceiver`, `promote` or `rejoin`; also across restarts and changes of the upstream.
   */
  async pauseReceiver(node: string, options: TimeoutOption = {}): Promise<void> {
    await pauseReceiver(this.#nodes, node, timeoutOf(options))
  }

  /**
   * Lets the replica receive again, from the node that it follows. Does not wait for that: `caughtUp` does. A replica whose replay is
   * held up as well, by `pause` or `lag`, begins to receive when its replay goes on.
   */
  async resumeReceiver(node: string): Promise<void> {
    resumeReceiver(this.#nodes, node)
  }

  /** Crashes PostgreSQL on the node (immediate shutdown) and waits until it is down. Commits survive, asynchronous ones excepted. */
  async kill(node: string, options: TimeoutOption = {}): Promise<void> {
    await this.#nodes.server(node).shutDown('immediate', { timeoutMs: timeoutOf(options) })
  }

  /**
   * Shuts the node down in order (fast shutdown). A primary first sends everything to the replicas that are connected; a frozen one
   * holds it up for a minute, so `kill` or `thaw` comes first then.
   */
  async stop(node: string, options: TimeoutOption = {}): Promise<void> {
    await this.#nodes.server(node).shutDown('fast', { timeoutMs: timeoutOf(options) })
  }

  /**
   * Starts a node that is down, at its old URL, and waits until it answers queries; does nothing if it is running.
   * A former primary comes back as what it was: a second primary.
   */
  async start(node: string, options: TimeoutOption = {}): Promise<void> {
    const server = this.#nodes.server(node)
    if (!server.running) await server.start({ timeoutMs: timeoutOf(options) })
  }

  /** `stop`, then `start`. */
  async restart(node: string, options: TimeoutOption = {}): Promise<void> {
    await this.stop(node, options)
    await this.start(node, options)
  }

  /** Stops all processes of the node in their tracks: it accepts connections and never answers. `kill` and `stop` still work. */
  async freeze(node: string, options: TimeoutOption = {}): Promise<void> {
    const server = this.#nodes.server(node)
    if (!server.frozen) await this.#nodes.runningServer(node).freeze({ timeoutMs: timeoutOf(options) })
  }

  /** Ends a freeze; the node goes on where it was. */
  async thaw(node: string): Promise<void> {
    this.#nodes.server(node).thaw()
  }

  /**
   * Makes every answer of the node come `ms` milliseconds later: each direction takes half of that longer, in order. 0 ends it. Holds
   * for all connections through the node's link, and for what is on its way: 1 MiB in each direction of a connection at most.
   *
   * This method, `slow`, `cut`, `halfOpen` and `heal` are about the network between clients and the node, as `url(node)` leads through
   * it: not about replication, nor what the kit itself asks. They work on a node that is down, too, and throw `ConfigurationError`
   * in a cluster without `links`.
   */
  async delay(node: string, ms: number): Promise<void> {
    checkWhole('delay', ms, 'milliseconds', [0, MAX_MS])
    this.#link(node, 'delay').delay(ms)
  }

  /** Lets each connection through the node's link bring answers at `bytesPerSecond` at most (1 or more), until `heal`. */
  async slow(node: string, bytesPerSecond: number): Promise<void> {
    checkWhole('slow', bytesPerSecond, 'bytes per second', [1, Number.MAX_SAFE_INTEGER])
    this.#link(node, 'slow').slow(bytesPerSecond)
  }

  /** Resets the connections through the node's link, and every new one at once, until `heal` or `halfOpen`. */
  async cut(node: string): Promise<void> {
    this.#link(node, 'cut').cut()
  }

  /**
   * Lets the node's link accept connections, and keep them open, while nothing arrives any more in either direction, not even their end;
   * until `heal` or `cut`. What was on its way is lost too.
   */
  async halfOpen(node: string): Promise<void> {
    this.#link(node, 'halfOpen').halfOpen()
  }

  /** Ends `delay`, `slow`, `cut` and `halfOpen`. Connections made during `halfOpen`, and those that lost something by it, are reset. */
  async heal(node: string): Promise<void> {
    this.#link(node, 'heal').heal()
  }

  /**
   * Makes the replica the primary, and waits until it takes writes. The other replicas are told to follow it, unless
   * `repoint: false`, except those that stream from another replica: they go on following that one. `caughtUp` waits until they do.
   * The old primary is left as it is: if it runs, there are two. `rejoin` makes it a replica.
   */
  async promote(node: string, options: PromoteOptions = {}): Promise<void> {
    await promote(this.#nodes, node, options.repoint !== false, timeoutOf(options))
  }

  /**
   * Adds a replica, copied from the running primary, and waits until it answers queries. Returns its name. With `from` it streams from
   * that node, a running replica, instead of from the primary.
   */
  async addReplica(options: AddReplicaOptions = {}): Promise<string> {
    return addReplica(this.#nodes, options.from, timeoutOf(options))
  }

  /**
   * Makes a node, running or not, a fresh replica of the running primary, at its old URL, and waits until it answers queries. What it
   * had that the primary has not is gone, as are its lag and pauses; replicas that stream from it go on doing so. When it fails,
   * the node is down, and only `rejoin` brings it back.
   */
  async rejoin(node: string, options: TimeoutOption = {}): Promise<void> {
    await rejoin(this.#nodes, node, timeoutOf(options))
  }

  /**
   * Waits until the replica has applied everything that the primary had written when this was called, and streams from the primary or
   * from another replica that does. Without a name: all replicas that are running and not frozen.
   */
  async caughtUp(node?: string, options: TimeoutOption = {}): Promise<void> {
    await catchUp(this.#nodes, node, timeoutOf(options))
  }

  /** Ends all servers and links and removes their files. Calling it again changes nothing. */
  close(): Promise<void> {
    return this.#nodes.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #link(node: string, method: string): Link {
    return this.#nodes.parts.links.get(this.#nodes.server(node), method)
  }
}
