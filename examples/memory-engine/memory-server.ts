// A replicated key-value store in memory: what the engine beside it is for. Servers, connections, a log that replicas follow.
// Nothing here knows of Tidemark.

export type Role = 'primary' | 'replica'

/** What a server says of itself. */
export interface Where {
  readonly role: Role
  readonly system: string
  /** Which history this is: each promotion begins one more. `null`: a replica that does not know. */
  readonly epoch: number | null
  /** Of this life of the server. */
  readonly startedAs: string
  /** How many entries of the log its readers can see. */
  readonly applied: number
}

/** An older history that a server's own goes through, and how many entries of it. */
export interface Left {
  readonly epoch: number
  readonly length: number
}

export class ServerError extends Error {
  readonly code: 'UNREACHABLE' | 'READ_ONLY'
  constructor(code: ServerError['code'], message: string) {
    super(message)
    this.code = code
  }
}

type Entry = readonly [key: string, value: string]

const REPLICATION_MS = 1
let lives = 0

export class MemoryServer {
  readonly system: string
  role: Role
  epoch = 1
  history: readonly Left[] = []
  /** A replica follows this one. */
  upstream: MemoryServer | undefined
  paused = false
  frozen = false
  knowsEpoch = true
  readonly connections = new Set<MemoryConnection>()
  #startedAs = `life ${++lives}`
  #log: Entry[] = []
  readonly #timer: NodeJS.Timeout

  constructor(system: string, upstream?: MemoryServer) {
    this.system = system
    this.role = upstream === undefined ? 'primary' : 'replica'
    this.upstream = upstream
    this.#timer = setInterval(() => this.#follow(), REPLICATION_MS)
  }

  connect(): MemoryConnection {
    const connection = new MemoryConnection(this)
    this.connections.add(connection)
    return connection
  }

  where(): Where {
    const { role, system } = this
    return { role, system, epoch: this.knowsEpoch ? this.epoch : null, startedAs: this.#startedAs, applied: this.#log.length }
  }

  get(key: string): string | undefined {
    return this.#log.findLast(entry => entry[0] === key)?.[1]
  }

  put(key: string, value: string): void {
    if (this.role === 'replica') throw new ServerError('READ_ONLY', 'this is a replica')
    this.#log.push([key, value])
  }

  /** For an operator: the rest is not for clients. */
  copy(): readonly Entry[] {
    return [...this.#log]
  }

  restart(log: readonly Entry[] = this.#log): void {
    this.disconnect()
    this.#startedAs = `life ${++lives}`
    this.#log = [...log]
  }

  promote(): void {
    this.history = [...this.history, { epoch: this.epoch, length: this.#log.length }]
    this.upstream = undefined
    this.role = 'primary'
    this.epoch++
  }

  disconnect(): void {
    for (const connection of this.connections) connection.destroy()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.disconnect()
  }

  #follow(): void {
    const { upstream } = this
    if (upstream === undefined || this.paused || this.frozen) return
    this.epoch = upstream.epoch
    this.history = upstream.history
    this.#log.push(...upstream.#log.slice(this.#log.length))
  }
}

/** Runs what it is sent, in that order. */
export class MemoryConnection {
  /** What the server answers does not arrive. */
  deaf = false
  readonly #server: MemoryServer
  #last: Promise<unknown> = Promise.resolve()
  #breaks!: (error: Error) => void
  readonly #broken = new Promise<never>((_, reject) => {
    this.#breaks = reject
  })

  constructor(server: MemoryServer) {
    this.#server = server
    this.#broken.catch(() => {})
  }

  get open(): boolean {
    return this.#server.connections.has(this)
  }

  send<T>(statement: (server: MemoryServer) => T | Promise<T>): Promise<T> {
    const answer = this.#last.then(() => this.#run(statement))
    this.#last = answer.catch(() => {})
    return Promise.race([answer, this.#broken])
  }

  destroy(): void {
    this.#server.connections.delete(this)
    this.#breaks(new ServerError('UNREACHABLE', 'the connection is broken'))
  }

  async #run<T>(statement: (server: MemoryServer) => T | Promise<T>): Promise<T> {
    // The network takes a moment.
    do await new Promise(resolve => setImmediate(resolve))
    while (this.#server.frozen && this.open)
    if (!this.open) return this.#broken
    const result = await statement(this.#server)
    return this.deaf ? this.#broken : result
  }
}
