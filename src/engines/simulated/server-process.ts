/**
 * What all simulated servers have in common: a process that lives, stops, freezes and takes connections. What its log is, and how it
 * reaches the others, is its kind's: `server.ts`, `peer.ts`.
 */
import type { Timer } from '../../core/clock.js'
import { ServerBackend, type Transaction } from './backend.js'
import type { Connection, Host } from './connection.js'
import type { Network } from './network.js'
import type { Answer, ServerError } from './protocol.js'
import type { Random } from './random.js'
import { RowLocks } from './row-locks.js'
import type { Simulation } from './simulation.js'
import type { Version } from './wal.js'

/** `down`: the host refuses connections. `dead`: the host has no power or network; nobody hears anything. */
export type ServerState = 'running' | 'down' | 'dead'

export interface ServerTimes {
  /** From inserting a commit record to its being on disk, in ms. */
  readonly flushMs: readonly [from: number, to: number]
  /** An asynchronous commit is flushed after so many ms. */
  readonly walWriterMs: readonly [from: number, to: number]
  /** From a record's arrival at a standby to its redo, and from one redo to the next. */
  readonly replayMs: readonly [from: number, to: number]
  /** Redo of a commit makes it visible this many ms before the replay position includes it. */
  readonly positionLagMs: readonly [from: number, to: number]
  /** From a statement's execution to its answer. */
  readonly serviceMs: readonly [from: number, to: number]
  readonly lockTimeoutMs: number
  /** A standby that is not streaming tries again this often. */
  readonly receiverRetryMs: number
}

export const SERVER_TIMES: ServerTimes = Object.freeze({
  flushMs: [0.2, 1],
  walWriterMs: [50, 600],
  replayMs: [0.05, 0.3],
  positionLagMs: [0, 0.4],
  serviceMs: [0.05, 0.3],
  lockTimeoutMs: 1_000,
  receiverRetryMs: 300,
} as const)

export interface ServerContext<S extends ServerProcess> {
  readonly simulation: Simulation
  readonly network: Network
  readonly times: ServerTimes
  readonly serverOf: (id: string) => S | undefined
  /** Every version that is committed anywhere. */
  readonly committed: (version: Version) => void
  /** It can be seen where it was written. */
  readonly shown: (version: Version) => void
}

export interface SimulatedServerSpec {
  readonly id: string
  readonly region?: string
}

export abstract class ServerProcess implements Host {
  readonly id: string
  readonly region: string | undefined
  readonly random: Random
  state: ServerState = 'down'
  replayPaused = false
  /** A record from elsewhere is applied at the earliest so long after it was written. */
  applyDelayMs = 0
  /** What readers see. */
  readonly data = new Map<string, Version>()
  readonly backends = new Set<ServerBackend>()
  readonly locks: RowLocks
  readonly #simulation: Simulation
  readonly #times: ServerTimes
  #life = 0
  #lifeId: string
  #frozen = false
  readonly #backlog: (() => void)[] = []

  constructor({ simulation, times }: Pick<ServerContext<ServerProcess>, 'simulation' | 'times'>, spec: SimulatedServerSpec) {
    this.id = spec.id
    this.region = spec.region
    this.#lifeId = `${spec.id}#0`
    this.#simulation = simulation
    this.#times = times
    this.random = simulation.random(`server ${spec.id}`)
    this.locks = new RowLocks((ms, run) => this.later(ms, run), times.lockTimeoutMs)
  }

  /** Whether it takes writes now. */
  abstract get writable(): boolean
  /** Under which name a write of the key is kept here, and under which ones a read of it looks. */
  abstract registerOf(key: string): string
  abstract registersOf(key: string): readonly string[]
  /** Calls back when the commit is visible; with an error when nothing was done. */
  abstract commit(transaction: Transaction, done: (error?: ServerError) => void): void
  abstract describe(kind: 'position' | 'check' | 'log-end' | 'timeline-history'): Answer | ServerError
  /** Goes on applying what there is, unless that is under way. */
  abstract replay(): void
  /** A life begins, or has ended. */
  protected abstract started(consistent: number | undefined): void
  protected abstract ended(lost: boolean, told: boolean): void

  /** Counts the lives: one ends with a crash, a stop, or the data directory being replaced. */
  get life(): number {
    return this.#life
  }

  get frozen(): boolean {
    return this.#frozen
  }

  /** Identifies this life. */
  get lifeId(): string {
    return this.#lifeId
  }

  get isSilent(): boolean {
    return this.state === 'dead'
  }

  accept(connection: Connection): void {
    if (this.isSilent) connection.abandoned()
    else this.whenAwake(() => this.#open(connection))
  }

  /** Runs `run` now, or when the server is no longer frozen. */
  whenAwake(run: () => void): void {
    if (this.#frozen) this.#backlog.push(run)
    else run()
  }

  /** As `Simulation.after`, within this life. */
  later(ms: number, run: () => void): Timer {
    const life = this.#life
    return this.#simulation.after(ms, () => {
      this.whenAwake(() => {
        if (life === this.#life && this.state === 'running') run()
      })
    })
  }

  draw([from, to]: readonly [number, number]): number {
    return this.random.between(from, to)
  }

  serviceMs(): number {
    return this.draw(this.#times.serviceMs)
  }

  pauseReplay(paused: boolean): void {
    this.replayPaused = paused
    this.replay()
  }

  /** Begins a life, with what is on disk. `consistent`: see `Server`. */
  start(consistent?: number): void {
    this.#nextLife()
    this.state = 'running'
    this.started(consistent)
  }

  /** Ends a life. `lost`: what was not on disk is gone. A host that is `dead` tells nobody. */
  end(state: 'down' | 'dead', { lost }: { readonly lost: boolean }): void {
    const wasRunning = this.state === 'running'
    this.state = state
    if (!wasRunning) return
    this.#nextLife()
    this.#frozen = false
    this.#backlog.length = 0
    this.locks.clear()
    const reason = state === 'dead' ? undefined : `${this.id} has gone away`
    for (const backend of this.backends) backend.end(reason)
    this.backends.clear()
    this.ended(lost, reason !== undefined)
  }

  freeze(): void {
    if (this.state === 'running') this.#frozen = true
  }

  thaw(): void {
    this.#frozen = false
    const backlog = this.#backlog.splice(0)
    for (const run of backlog) this.#simulation.after(0, () => this.whenAwake(run))
  }

  #nextLife(): void {
    this.#life++
    this.#lifeId = `${this.id}#${this.#life}`
  }

  #open(connection: Connection): void {
    if (this.state !== 'running') {
      connection.closedByServer(`connection to ${this.id} refused`)
      return
    }
    const backend = new ServerBackend(this, connection)
    this.backends.add(backend)
    connection.accepted(backend)
  }
}
