/**
 * One simulated PostgreSQL server: its copy of the log, what it has flushed and applied, and its lives. How it streams is in
 * `streaming.ts`; what statements do, in `backend.ts`.
 */
import type { Timer } from '../../core/clock.js'
import type { Transaction } from './backend.js'
import type { Answer, CheckRow, PositionRow } from './protocol.js'
import { type ServerContext, ServerProcess, type SimulatedServerSpec } from './server-process.js'
import { Receiver, Senders } from './streaming.js'
import type { Wal, WalRecord } from './wal.js'

export class Server extends ServerProcess {
  readonly system: string
  readonly context: ServerContext<Server>
  wal: Wal
  /** On disk up to here; the rest of the log is lost in a crash. */
  flushed = 0
  /** How many records of the log are in `data` (on a primary: all that were there when its life began). */
  applied = 0
  recovering: boolean
  readonly senders: Senders
  readonly receiver: Receiver
  #replaying: Timer | undefined
  #walWriter: Timer | undefined
  /** When the replay position includes the last applied record. */
  #positionAt = 0

  constructor(context: ServerContext<Server>, spec: SimulatedServerSpec, system: string, wal: Wal, recovering: boolean) {
    super(context, spec)
    this.context = context
    this.system = system
    this.wal = wal
    this.recovering = recovering
    this.flushed = wal.end
    this.senders = new Senders(this)
    this.receiver = new Receiver(this)
  }

  get writable(): boolean {
    return !this.recovering
  }

  registerOf(key: string): string {
    return key
  }

  registersOf(key: string): readonly string[] {
    return [key]
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
      for (const version of versions) {
        this.data.set(version.key, version)
        this.context.shown(version)
      }
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

  /** A standby that has started to stream from elsewhere drops what it had not applied. */
  truncate(position: number): void {
    this.wal.truncate(position)
    this.flushed = Math.min(this.flushed, this.wal.end)
    // What was to be replayed next may be among what is gone.
    this.#replaying?.cancel()
    this.#replaying = undefined
    this.replay()
  }

  /** What a standby reports as its replay position: a moment behind what its readers see. */
  get replayPosition(): number {
    const shown = this.context.simulation.now() < this.#positionAt ? this.applied - 1 : this.applied
    return this.wal.records[shown - 1]?.end ?? 0
  }

  /** A standby is open from the position of its `consistent`th record on. */
  protected started(consistent = this.wal.records.length): void {
    this.data.clear()
    this.applied = 0
    this.#positionAt = 0
    const open = this.recovering ? Math.min(consistent, this.wal.records.length) : this.wal.records.length
    while (this.applied < open) this.#redo()
    if (this.recovering) {
      this.replay()
      this.receiver.start()
    } else this.checkpoint()
  }

  protected ended(lost: boolean, told: boolean): void {
    this.#replaying?.cancel()
    this.#walWriter?.cancel()
    this.#replaying = this.#walWriter = undefined
    this.senders.close(told)
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
    this.checkpoint()
  }

  /** A record of housekeeping, on disk at once: every start and every promotion of a primary leaves one in the log. */
  checkpoint(): void {
    this.wal.insert([], this.context.simulation.now(), this.random)
    this.flush(this.wal.end)
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
          started: this.lifeId,
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
}
