/**
 * One simulated PostgreSQL server: its copy of the log, what it has flushed and applied, and its lives. How it streams is in
 * `streaming.ts`; what statements do, in `backend.ts`.
 */
import type { Timer } from '../../core/clock.js'
import { ServerBackend, type Transaction } from './backend.js'
import type { Connection, Host } from './connection.js'
import type { Network } from './network.js'
import type { Answer, CheckRow, PositionRow } from './protocol.js'
import type { Random } from './random.js'
import { RowLocks } from './row-locks.js'
import type { Simulation } from './simulation.js'
import { Receiver, Senders } from './streaming.js'
import type { Version, Wal, WalRecord } from './wal.js'

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

export interface ServerContext {
  readonly simulation: Simulation
  readonly network: Network
  readonly times: ServerTimes
  readonly serverOf: (id: string) => Server | undefined
  /** Every version that is committed anywhere. */
  readonly committed: (version: Version) => void
}

export class Server implements Host {
  readonly id: string
  readonly region: string | undefined
  readonly system: string
  readonly random: Random
  readonly context: ServerContext
  wal: Wal
  /** What readers see. */
  readonly data = new Map<string, Version>()
  /** On disk up to here; the rest of the log is lost in a crash. */
  flushed = 0
  /** How many records of the log are in `data` (on a primary: all that were there when its life began). */
  applied = 0
  recovering: boolean
  state: ServerState = 'down'
  replayPaused = false
  /** A standby applies a commit at the earliest so long after it was inserted. */
  applyDelayMs = 0
  readonly backends = new Set<ServerBackend>()
  readonly locks: RowLocks
  readonly senders: Senders
  readonly receiver: Receiver
  #life = 0
  #frozen = false
  readonly #backlog: (() => void)[] = []
  #replaying: Timer | undefined
  #walWriter: Timer | undefined
  /** When the replay position includes the last applied record. */
  #positionAt = 0

  constructor(
    context: ServerContext,
    spec: { readonly id: string; readonly region?: string | undefined },
    system: string,
    wal: Wal,
    recovering: boolean,
  ) {
    this.context = context
    this.id = spec.id
    this.region = spec.region
    this.system = system
    this.wal = wal
    this.recovering = recovering
    this.flushed = wal.end
    this.random = context.simulation.random(`server ${spec.id}`)
    this.locks = new RowLocks((ms, run) => this.later(ms, run), context.times.lockTimeoutMs)
    this.senders = new Senders(this)
    this.receiver = new Receiver(this)
  }

  /** Counts the lives: one ends with a crash, a stop, or the data directory being replaced. */
  get life(): number {
    return this.#life
  }

  get frozen(): boolean {
    return this.#frozen
  }

  accept(connection: Connection): void {
    if (this.state === 'dead') connection.abandoned()
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
    return this.context.simulation.after(ms, () => {
      this.whenAwake(() => {
        if (life === this.#life && this.state === 'running') run()
      })
    })
  }

  draw([from, to]: readonly [number, number]): number {
    return this.random.between(from, to)
  }

  serviceMs(): number {
    return this.draw(this.context.times.serviceMs)
  }

  /**
   * Commits: the record is in the log, then on disk, then visible, then `done` answers. With asynchronous commit it is on
   * disk only later, and a crash before that loses what was answered.
   */
  commit(transaction: Transaction, done: () => void): void {
    const { versions } = transaction
    if (versions.length === 0) {
      this.locks.release(transaction)
      done()
      return
    }
    const { end } = this.wal.insert(versions, this.context.simulation.now(), this.random)
    for (const version of versions) this.context.committed(version)
    const finish = () => {
      for (const version of versions) this.data.set(version.key, version)
      this.locks.release(transaction)
      done()
    }
    if (transaction.asyncCommit) {
      finish()
      this.#walWriter ??= this.later(this.draw(this.context.times.walWriterMs), () => {
        this.#walWriter = undefined
        this.flush(this.wal.end)
      })
    } else {
      this.later(this.draw(this.context.times.flushMs), () => {
        this.flush(end)
        finish()
      })
    }
  }

  /** The log is on disk up to `position`, and may be streamed. */
  flush(position: number): void {
    if (position <= this.flushed) return
    this.flushed = position
    this.senders.pump()
  }

  /** A standby's receiver has written records. */
  received(records: readonly WalRecord[]): void {
    for (const record of records) this.wal.records.push(record)
    this.flush(this.wal.end)
    this.replay()
  }

  /** Goes on replaying what there is, unless that is under way. */
  replay(): void {
    if (this.#replaying !== undefined || this.replayPaused || !this.recovering || this.state !== 'running') return
    const next = this.wal.records[this.applied]
    if (next === undefined) return
    const due = Math.max(next.insertedAt + this.applyDelayMs - this.context.simulation.now(), 0)
    this.#replaying = this.later(due + this.draw(this.context.times.replayMs), () => {
      this.#replaying = undefined
      if (this.replayPaused || !this.recovering) return
      this.#apply()
      this.replay()
    })
  }

  pauseReplay(paused: boolean): void {
    this.replayPaused = paused
    this.replay()
  }

  /** A standby that has started to stream from elsewhere drops what it had not applied. */
  truncate(position: number): void {
    this.wal.truncate(position)
    this.flushed = Math.min(this.flushed, this.wal.end)
  }

  /** What a standby reports as its replay position: a moment behind what its readers see. */
  get replayPosition(): number {
    const shown = this.context.simulation.now() < this.#positionAt ? this.applied - 1 : this.applied
    return this.wal.records[shown - 1]?.end ?? 0
  }

  /** Begins a life, with what is on disk. A standby is open from the position of its `consistent`th record on. */
  start(consistent = this.wal.records.length): void {
    this.#life++
    this.state = 'running'
    this.data.clear()
    this.applied = 0
    this.#positionAt = 0
    const open = this.recovering ? Math.min(consistent, this.wal.records.length) : this.wal.records.length
    while (this.applied < open) this.#redo()
    if (this.recovering) {
      this.replay()
      this.receiver.start()
    } else this.#checkpoint()
  }

  /** Ends a life. `lost`: what was not on disk is gone. `told`: whether clients hear of it. */
  end(state: 'down' | 'dead', { lost }: { readonly lost: boolean }): void {
    if (this.state !== 'running') {
      this.state = state
      return
    }
    this.#life++
    this.state = state
    this.#frozen = false
    this.#backlog.length = 0
    this.#replaying?.cancel()
    this.#walWriter?.cancel()
    this.#replaying = this.#walWriter = undefined
    this.locks.clear()
    const reason = state === 'dead' ? undefined : `${this.id} has gone away`
    for (const backend of this.backends) backend.end(reason)
    this.backends.clear()
    this.senders.close(reason !== undefined)
    this.receiver.stop()
    if (lost) this.wal.truncate(this.flushed)
    else this.flushed = this.wal.end
  }

  /** A standby becomes the primary of a new timeline, from the end of what it has received. Its connections stay. */
  promote(timeline: number): void {
    this.receiver.stop()
    while (this.applied < this.wal.records.length) this.#apply()
    this.#replaying?.cancel()
    this.#replaying = undefined
    this.recovering = false
    this.wal.branch(timeline)
    this.senders.switchTimeline()
    this.#checkpoint()
  }

  freeze(): void {
    if (this.state === 'running') this.#frozen = true
  }

  thaw(): void {
    this.#frozen = false
    const backlog = this.#backlog.splice(0)
    for (const run of backlog) this.context.simulation.after(0, () => this.whenAwake(run))
  }

  describe(kind: 'position' | 'check' | 'log-end' | 'timeline-history'): Answer {
    const { wal } = this
    switch (kind) {
      case 'position':
        return this.#position()
      case 'check':
        return {
          ...this.#position(),
          system: this.system,
          started: `${this.id}#${this.#life}`,
          geometry: wal.geometry,
        } satisfies CheckRow
      case 'log-end':
        return { insert: wal.lsn(wal.insertPosition), flush: wal.lsn(this.flushed) }
      case 'timeline-history':
        return {
          timeline: wal.timeline,
          ancestors: wal.ancestors.map(({ timeline, switchAt }) => ({ timeline, switchAt: wal.lsn(switchAt) })),
        }
    }
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

  #position(): PositionRow {
    const { wal, recovering } = this
    return {
      recovering,
      received: recovering ? wal.lsn(wal.end) : null,
      applied: wal.lsn(recovering ? this.replayPosition : wal.insertPosition),
      timeline: recovering ? this.receiver.timeline : wal.timeline,
    }
  }

  #apply(): void {
    this.#positionAt = this.context.simulation.now() + this.draw(this.context.times.positionLagMs)
    this.#redo()
  }

  #redo(): void {
    for (const version of this.wal.records[this.applied++]!.versions) this.data.set(version.key, version)
  }

  /** Every start and every promotion leaves a record in the log. */
  #checkpoint(): void {
    this.wal.insert([], this.context.simulation.now(), this.random)
    this.flush(this.wal.end)
  }
}
