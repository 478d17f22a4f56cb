// The engine: docs/engines.md goes through it step by step.
import {
  type Clock,
  type Cluster,
  Database,
  type DatabaseConfig,
  type Engine,
  type EngineNode,
  type Executor,
  type Lease,
  lineageOf,
  type Node,
  type NodeSpec,
  type Observation,
  Position,
  type ReadAnswer,
  type ReadForm,
  type ReadOptions,
  type RerouteReason,
  type Scope,
  Session,
  type SessionContext,
  type SessionOptions,
  systemClock,
  type Tokens,
} from 'tidemark/engine'
import { type MemoryConnection, type MemoryServer, ServerError, type Where } from './memory-server.js'

const CONNECT_TIMEOUT_MS = 5_000
const MAX_IDLE = 10

/** How a node is configured. An address may lead to several servers, in turn: then say `balanced`. */
export interface MemorySpec extends NodeSpec {
  readonly servers: readonly MemoryServer[]
}

export class MemoryLease implements Lease {
  readonly connection: MemoryConnection
  readonly incarnation: string
  readonly writes: string | undefined
  readonly role: string
  readonly #giveBack: (lease: MemoryLease, discard: boolean) => void

  constructor(connection: MemoryConnection, seen: Observation, giveBack: (lease: MemoryLease, discard: boolean) => void) {
    this.connection = connection
    this.incarnation = seen.incarnation
    this.role = seen.role
    this.writes = seen.role === 'primary' && seen.epoch !== undefined ? lineageOf(seen.system, seen.epoch) : undefined
    this.#giveBack = giveBack
  }

  release(discard = false): void {
    this.#giveBack(this, discard)
  }
}

export class MemoryNode implements EngineNode<MemoryLease> {
  readonly spec: MemorySpec
  readonly node: Node
  readonly #cluster: Cluster
  readonly #clock: Clock
  readonly #idle: MemoryLease[] = []
  readonly #open = new Set<MemoryConnection>()
  #monitor: MemoryConnection | undefined
  #connected = 0
  #closed = false

  constructor(spec: MemorySpec, cluster: Cluster, clock: Clock) {
    this.spec = spec
    this.node = cluster.node(spec.id)
    this.#cluster = cluster
    this.#clock = clock
  }

  take(): MemoryLease | undefined {
    for (let lease = this.#idle.pop(); lease !== undefined; lease = this.#idle.pop()) {
      const { incarnation, role } = this.node
      if (lease.connection.open && lease.incarnation === incarnation && lease.role === role) return lease
      this.#drop(lease.connection)
    }
    return undefined
  }

  async acquired(_quick?: unknown, signal?: AbortSignal): Promise<MemoryLease> {
    signal?.throwIfAborted()
    const idle = this.take()
    if (idle !== undefined) return idle
    const connection = this.#connect()
    const abort = () => this.#drop(connection)
    signal?.addEventListener('abort', abort, { once: true })
    try {
      const seen = await this.#ask(connection, CONNECT_TIMEOUT_MS)
      // Rule 1: before the first use, the picture knows which life of the server this is, and where it is.
      this.#cluster.observe(this.node, seen)
      return new MemoryLease(connection, seen, (lease, discard) => this.#giveBack(lease, discard))
    } catch (error) {
      this.#drop(connection)
      throw signal?.aborted ? signal.reason : error
    } finally {
      signal?.removeEventListener('abort', abort)
    }
  }

  async probe(timeoutMs: number): Promise<Observation> {
    const connection = this.#monitor?.open ? this.#monitor : this.#connect()
    this.#monitor = connection
    return this.#ask(connection, timeoutMs)
  }

  locate({ connection }: MemoryLease): Promise<Observation> {
    const sentAt = this.#clock.now()
    return connection.send(server => server.where()).then(where => observationOf(where, sentAt, this.#clock.now()))
  }

  cut({ connection }: MemoryLease): void {
    connection.destroy()
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const connection of this.#open) this.#drop(connection)
  }

  #connect(): MemoryConnection {
    if (this.#closed) throw new Error(`${this.spec.id} is closed`)
    const { servers } = this.spec
    const connection = servers[this.#connected++ % servers.length]!.connect()
    this.#open.add(connection)
    return connection
  }

  /** The answer, or an error at the deadline: a connection that did not answer in time is of no use any more. */
  async #ask(connection: MemoryConnection, timeoutMs: number): Promise<Observation> {
    const sentAt = this.#clock.now()
    const timer = this.#clock.setTimer(() => this.#drop(connection), timeoutMs, { keepAlive: true })
    try {
      return observationOf(await connection.send(server => server.where()), sentAt, this.#clock.now())
    } finally {
      timer.cancel()
    }
  }

  #giveBack(lease: MemoryLease, discard: boolean): void {
    if (discard || this.#closed || !lease.connection.open || this.#idle.length >= MAX_IDLE) this.#drop(lease.connection)
    else this.#idle.push(lease)
  }

  #drop(connection: MemoryConnection): void {
    connection.destroy()
    this.#open.delete(connection)
  }
}

/** In the core's terms. What the server does not know stays unknown. */
function observationOf({ role, system, epoch, startedAs, applied }: Where, sentAt: number, receivedAt: number): Observation {
  return { sentAt, receivedAt, role, system, incarnation: startedAs, epoch: epoch ?? undefined, applied: BigInt(applied) }
}

function positionOf({ system, epoch, applied }: Observation): Position | undefined {
  return epoch === undefined || applied === undefined ? undefined : Position.at(lineageOf(system, epoch), applied)
}

function rerouteReasonOf(error: unknown, onReplica: boolean): RerouteReason | undefined {
  if (!(error instanceof ServerError)) return undefined
  if (error.code === 'UNREACHABLE') return 'unreachable'
  return onReplica ? 'needs-primary' : undefined
}

export function memoryEngine(clock: Clock = systemClock): Engine<MemorySpec, MemoryNode> {
  return {
    connect: (spec, cluster) => new MemoryNode(spec, cluster, clock),
    rerouteReasonOf,
    async history(node, epoch) {
      const lease = await node.acquired().catch(() => undefined)
      const known = await lease?.connection.send(server => ({ epoch: server.epoch, left: server.history })).catch(() => undefined)
      lease?.release(known === undefined)
      if (known?.epoch !== epoch) return undefined
      return known.left.map(({ epoch: older, length }) => ({ epoch: older, includedUpTo: BigInt(length), exact: true }))
    },
  }
}

export type GetOptions = Pick<ReadOptions<string | undefined>, 'ladder' | 'signal'>

/** Sends single reads and writes. */
export class MemoryClient {
  readonly #executor: Executor<MemoryLease, MemoryNode>

  constructor(executor: Executor<MemoryLease, MemoryNode>) {
    this.#executor = executor
  }

  get(scope: Session | 'eventual', key: string, options: GetOptions = {}): Promise<string | undefined> {
    return this.#executor.read(scope, options, (lease, node, form) => this.#read(lease, node, form, key))
  }

  put(scope: Scope, key: string, value: string): Promise<void> {
    return this.#executor.write<void>(scope, {}, async (lease, node, { capture }) => {
      try {
        // Behind the write, on the same connection: the position includes it.
        const writing = lease.connection.send(server => server.put(key, value))
        const asking = capture ? this.#where(lease, node).catch(() => undefined) : undefined
        await writing
        const seen = await asking
        return { captured: seen && positionOf(seen), release: () => lease.release() }
      } catch (error) {
        const broken = !lease.connection.open
        return {
          error,
          captured: undefined,
          release() {
            lease.release(broken)
            return error
          },
        }
      }
    })
  }

  async #read(lease: MemoryLease, node: Node, form: ReadForm, key: string): Promise<ReadAnswer<string | undefined>> {
    try {
      // All are sent at once, and answered in this order.
      const checking = form === 'checked' ? this.#where(lease, node) : undefined
      const reading = lease.connection.send(server => server.get(key))
      const asking = form === 'plain' ? undefined : this.#where(lease, node)
      const [checked, result, seen] = await Promise.all([checking, reading, asking])
      const position = seen && positionOf(seen)
      return { result, checked, ...(form === 'settling' ? { captured: position } : { bound: position }) }
    } finally {
      lease.release(!lease.connection.open)
    }
  }

  #where(lease: MemoryLease, node: Node): Promise<Observation> {
    return this.#executor.context.nodes.get(node)!.locate(lease)
  }
}

export class MemorySession extends Session {
  readonly #client: MemoryClient

  constructor(client: MemoryClient, context: SessionContext, tokens: Tokens, options: SessionOptions) {
    super(context, tokens, options)
    this.#client = client
  }

  get(key: string): Promise<string | undefined> {
    return this.#client.get(this, key)
  }

  put(key: string, value: string): Promise<void> {
    return this.#client.put(this, key, value)
  }
}

/** The database as its users see it. */
export class MemoryDatabase {
  readonly #database: Database<MemoryLease, MemorySpec, MemoryNode>
  readonly #client: MemoryClient

  private constructor(database: Database<MemoryLease, MemorySpec, MemoryNode>) {
    this.#database = database
    this.#client = new MemoryClient(database.executor)
  }

  static async open(specs: readonly MemorySpec[], config: DatabaseConfig): Promise<MemoryDatabase> {
    const database = new Database<MemoryLease, MemorySpec, MemoryNode>(memoryEngine(config.clock), specs, config)
    await database.start()
    return new MemoryDatabase(database)
  }

  session(tokens?: Tokens, options: SessionOptions = {}): MemorySession {
    return new MemorySession(this.#client, this.#database.sessions, tokens, options)
  }

  close(): Promise<void> {
    return this.#database.close()
  }
}
