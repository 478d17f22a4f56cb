/**
 * One database: its nodes, what keeps the picture of them fresh, and what sends. An engine's own database holds one of these
 * and adds how its users say what is to be read and written.
 */
import { type Clock, systemClock } from '../clock.js'
import { Cluster } from '../cluster.js'
import { ConfigurationError } from '../errors.js'
import { publish } from '../events.js'
import type { Engine, EngineNode, Lease, NodeSpec } from '../execution/engine.js'
import { Executor } from '../execution/executor.js'
import { Judge } from '../execution/judge.js'
import { type Explanation, explainRead } from '../explain.js'
import { fenceOf } from '../fence.js'
import { EMPTY_HISTORY, UNCERTAIN_HISTORY } from '../history.js'
import type { Ladder } from '../ladder.js'
import { Monitor } from '../monitor.js'
import type { Node } from '../node.js'
import { checkQuorums } from '../quorum.js'
import { Router } from '../router.js'
import type { SessionContext } from '../session.js'
import { SessionCaches } from '../session-cache.js'
import { type Stats, StatsCollector } from '../stats.js'
import { StoredPositions } from '../stored-positions.js'
import { secretOrRandom, TokenCodec } from '../token/codec.js'
import { TokenRejectedError } from '../token/layout.js'
import type { TokenStore } from '../token-store.js'
import { WaitingRoom } from '../waiting-room.js'
import type { WritePolicy } from '../write-policy.js'
import { DATABASE_DEFAULTS, type DatabaseConfig, strategyOf } from './database-config.js'
import { Expiry } from './expiry.js'
import { type NodeStatus, statusOf } from './node-status.js'

/** A failover's record is read within this time, or counts as not to be had. */
const HISTORY_TIMEOUT_MS = 1_000

export interface ExplainOptions {
  /** Whom the token is bound to. */
  readonly user?: string | undefined
  /** Default: the database's. */
  readonly ladder?: Ladder
}

export class Database<L extends Lease, S extends NodeSpec, N extends EngineNode<L> & { readonly spec: S }> {
  readonly cluster: Cluster
  readonly executor: Executor<L, N>
  readonly writePolicy: WritePolicy | undefined
  readonly clock: Clock
  readonly #codec: TokenCodec
  readonly #config: DatabaseConfig
  readonly #engine: Engine<S, N>
  readonly #ladder: Ladder
  readonly #monitor: Monitor
  readonly #waitingRoom: WaitingRoom
  readonly #stats: StatsCollector
  readonly #nodes: N[]
  /** The same, as the executor looks them up. */
  readonly #byNode: Map<Node, N>
  #stored: StoredPositions | undefined
  #expiry: Expiry | undefined
  #closed: Promise<void> | undefined

  /** Opens nothing: `start` does. Throws {@link ConfigurationError} when the configuration cannot work. */
  constructor(engine: Engine<S, N>, specs: readonly S[], config: DatabaseConfig) {
    const clock = config.clock ?? systemClock
    const { ladder, writePolicy } = strategyOf(config)
    this.#engine = engine
    this.#config = config
    this.#ladder = ladder
    this.writePolicy = writePolicy
    this.clock = clock
    this.#codec = new TokenCodec({ secret: secretOrRandom(config.secret, message => this.warn(message)), clock })
    this.cluster = new Cluster(specs, { region: config.region, topology: engine.topology, name: config.name })
    this.#stats = new StatsCollector(this.cluster.name)
    this.#waitingRoom = new WaitingRoom(this.cluster, clock, { maxWaiting: config.maxWaiting ?? DATABASE_DEFAULTS.maxWaiting })
    this.#nodes = specs.map(spec => engine.connect(spec, this.cluster))
    this.#byNode = new Map(this.#nodes.map(node => [node.node, node]))
    const probe = (id: string, timeoutMs: number) => this.#byNode.get(this.cluster.node(id))!.probe(timeoutMs)
    this.#monitor = new Monitor(this.cluster, this.#waitingRoom, probe, clock, {
      pollIntervalMs: config.pollIntervalMs ?? DATABASE_DEFAULTS.pollIntervalMs,
      pollTimeoutMs: config.pollTimeoutMs ?? DATABASE_DEFAULTS.pollTimeoutMs,
    })
    this.executor = this.#createExecutor(ladder)
  }

  #createExecutor(ladder: Ladder): Executor<L, N> {
    const { clock, cluster } = this
    const router = new Router(cluster, this.#waitingRoom, clock)
    router.writeQuorum = () => this.acknowledgedBy
    const readHistory = async (node: Node, epoch: number) =>
      this.#engine.history?.(this.#byNode.get(node)!, epoch, HISTORY_TIMEOUT_MS)
    return new Executor({
      engine: this.#engine,
      cluster,
      router,
      monitor: this.#monitor,
      nodes: this.#byNode,
      judge: new Judge(cluster, this.#monitor, readHistory, clock),
      caches: new SessionCaches(this.#config.sessionCache),
      ladder,
      writePolicy: this.writePolicy,
      lostWrites: this.#config.lostWrites ?? 'reissue',
      clock,
    })
  }

  /** What its sessions share. */
  get sessions(): SessionContext {
    return {
      db: this.cluster.name,
      codec: this.#codec,
      clock: this.clock,
      stored: this.#stored,
      isCertain: session => this.executor.isCertain(session),
      keptOf: position => this.executor.keptOf(position),
    }
  }

  /** All of them, in the order of configuration; changes as nodes join and leave. */
  get nodes(): readonly N[] {
    return this.#nodes
  }

  /** At how many nodes every write is that has been acknowledged. */
  get acknowledgedBy(): number {
    return this.writePolicy?.acknowledgedBy(this.cluster.nodes.length) ?? 1
  }

  /** What is known of each node now. */
  status(): NodeStatus[] {
    const now = this.clock.now()
    return this.cluster.nodes.map(node => statusOf(node, this.cluster, now))
  }

  /** What databases of this name have done in this process since this one was opened. */
  stats(): Stats {
    return this.#stats.snapshot()
  }

  /** Reads that are parked until a replica has caught up. */
  get waiting(): number {
    return this.#waitingRoom.size
  }

  /** Where a read of a client with this token would go now, and why. Asks nobody, also no token store, and changes nothing. */
  explain(token: string | undefined, { user, ladder = this.#ladder }: ExplainOptions = {}): Explanation {
    const { cluster, router } = this.executor.context
    let history = user === undefined ? EMPTY_HISTORY : UNCERTAIN_HISTORY
    let rejected = ''
    try {
      if (token !== undefined) history = this.#codec.decode(token, { boundTo: user })
    } catch (error) {
      if (!(error instanceof TokenRejectedError)) throw error
      rejected = `The token is rejected (${error.reason}) and counts as none. `
    }
    const explained = explainRead(router, ladder, fenceOf(history, this.#config.guarantee ?? 'read-your-writes', cluster))
    const unasked =
      user === undefined || this.#stored === undefined ? '' : ' What the token store keeps of this user is not looked at.'
    return { ...explained, needs: rejected + explained.needs + unasked }
  }

  /** Users' positions across devices. Before any session is made. */
  keepPositionsIn(store: TokenStore): void {
    this.#stored = new StoredPositions(
      store,
      this.clock,
      this.#config.storeTimeoutMs ?? DATABASE_DEFAULTS.storeTimeoutMs,
      this.cluster.name,
    )
    this.#expiry = new Expiry(this.#stored, this.cluster, this.clock)
  }

  /**
   * Asks every node once. One that cannot be used is warned about and left out until it can be; rejects with
   * {@link ConfigurationError} when not one can be, or when the quorums cannot work.
   */
  async start(): Promise<void> {
    this.#stats.open()
    checkQuorums(this.#ladder, this.writePolicy, this.cluster)
    await this.#monitor.start()
    this.#refuseTwins()
    const { nodes } = this.cluster
    const unusable = nodes.filter(node => !node.usable)
    const reasons = unusable.map(node => `${node.id}: ${node.problem?.reason}`)
    if (unusable.length === nodes.length) {
      throw new ConfigurationError(`no node can be used. ${reasons.join('; ')}`, { cause: unusable[0]?.problem?.cause })
    }
    for (const reason of reasons) this.warn(`a node is not used until it can be: ${reason}`)
    if (nodes.length > unusable.length && !nodes.some(node => node.follows)) {
      this.warn('no replica can be used: every read goes to the primary')
    }
    const { logs, primary, writable } = this.cluster
    if (logs === undefined && primary === undefined) this.warn('no primary is known: writes will fail until one is')
    if (logs !== undefined && !writable) this.warn('no peer takes writes: they will fail until one does')
    this.#expiry?.start()
  }

  /**
   * A server joins while everything runs: resolves when the node has been asked once. Rejects with {@link ConfigurationError}
   * when the quorums would not meet any more with one node more: nothing has changed then.
   */
  async addNode(spec: S): Promise<void> {
    if (this.#closed !== undefined) throw new ConfigurationError('the database is closed; no node can join it')
    if (this.#nodes.some(each => each.spec.id === spec.id)) {
      throw new ConfigurationError(`there is a node called "${spec.id}" already`)
    }
    const acknowledged = this.acknowledgedBy
    const node = this.cluster.add(spec)
    let created: N
    try {
      checkQuorums(this.#ladder, this.writePolicy, this.cluster, acknowledged)
      created = this.#engine.connect(spec, this.cluster)
    } catch (error) {
      this.cluster.remove(node)
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
    if (!node.usable) this.warn(`a node is not used until it can be: ${node.id}: ${node.problem?.reason}`)
  }

  /**
   * A server leaves while everything runs: nothing is sent to it from here on, and what runs there is waited for. Rejects with
   * {@link ConfigurationError} when there is no such node, when it is the primary and in use, or when a quorum could not be
   * reached any more: nothing has changed then.
   */
  async removeNode(name: string): Promise<void> {
    const leaving = this.#nodes.find(({ spec }) => spec.id === name)
    if (leaving === undefined) {
      throw new ConfigurationError(`no node "${name}"; the nodes are ${this.#nodes.map(({ spec }) => spec.id).join(', ')}`)
    }
    const { node, spec } = leaving
    if (node === this.cluster.primary && node.usable) {
      throw new ConfigurationError(`${name} is the primary; promote another node before it leaves`)
    }
    const rest = this.cluster.nodes.filter(each => each !== node)
    // One copy of each write may leave with it.
    checkQuorums(this.#ladder, this.writePolicy, { nodes: rest }, Math.max(0, this.acknowledgedBy - 1))
    this.cluster.remove(node)
    this.#monitor.remove(node)
    this.#nodes.splice(this.#nodes.indexOf(leaving), 1)
    await leaving.close()
    this.#byNode.delete(node)
    if (spec.declaredPrimary) this.warn(`${name}, which was declared the primary, has left; the roles are discovered anyway`)
  }

  /** Ends what it owns: pollers, and what the engine opened. Waiting reads go on down their ladders. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#shutDown()
    return this.#closed
  }

  /** Tells an operator. */
  warn(message: string, cause?: unknown): void {
    publish('tidemark:warning', () => ({ db: this.cluster.name, message, cause }))
    if (this.#config.onWarning !== undefined) this.#config.onWarning(message)
    else process.emitWarning(message, 'TidemarkWarning')
  }

  async #shutDown(): Promise<void> {
    this.#monitor.stop()
    this.#stored?.close()
    this.#expiry?.stop()
    this.#waitingRoom.close()
    await Promise.all(this.#nodes.map(node => node.close()))
    this.#stats.close()
  }

  #refuseTwins(): void {
    const seen = new Map<string, string>()
    for (const { id, incarnation, balanced } of this.cluster.nodes) {
      if (incarnation === undefined || balanced) continue
      const twin = seen.get(incarnation)
      if (twin !== undefined) throw new ConfigurationError(`${twin} and ${id} are two addresses of the same server; list it once`)
      seen.set(incarnation, id)
    }
  }
}
