/**
 * One server of a leaderless cluster. It writes a log of its own, stamped by its hybrid logical clock, and applies the others' logs,
 * each in its order; how they come in is in `gossip.ts`.
 *
 * A crash may have lost the end of its own log, which others may have: so after one it begins the next generation of it, which
 * is another log. Writes of a key to different logs are not in conflict: each log has a register of its own for the key, and a read
 * shows all of them. So the versions of a register are a chain, whatever is concurrent.
 */
import type { Timer } from '../../core/clock.js'
import { lineageOf } from '../../core/engine.js'
import { HybridLogicalClock } from '../../core/hlc.js'
import { Position } from '../../core/position.js'
import type { Transaction } from './backend.js'
import { Gossip } from './gossip.js'
import type { ProcessClock } from './process-clock.js'
import { type Answer, type PositionRow, ServerError } from './protocol.js'
import { type ServerContext, ServerProcess, type SimulatedServerSpec } from './server-process.js'
import type { Version } from './wal.js'

export interface PeerRecord {
  /** The lineage of the log that it is in, and its place there. */
  readonly log: string
  readonly index: number
  readonly stamp: bigint
  /** Virtual time of its writing. */
  readonly writtenAt: number
  readonly versions: readonly Version[]
}

/** A record, and since when this peer has it. */
interface Kept {
  readonly record: PeerRecord
  readonly since: number
}

export interface PeerContext extends ServerContext<Peer> {
  /** A generation of this peer's log that there has not been. */
  readonly nextGeneration: (id: string) => number
  /** All logs that there have ever been, as registers are named by them. */
  readonly logNames: readonly string[]
  readonly others: (id: string) => readonly Peer[]
}

/** A commit that is not visible yet. */
interface Pending {
  readonly record: PeerRecord
  ready: boolean
  readonly done: () => void
}

export class Peer extends ServerProcess {
  readonly context: PeerContext
  readonly system: string
  readonly clock: ProcessClock
  readonly gossip: Gossip
  /** The lineage of its own log. */
  log = ''
  #logName = ''
  /** What readers see, by log; of its own, what is being committed is behind that in `#pending`. */
  readonly #logs = new Map<string, Kept[]>()
  /** What {@link applied} last was; `undefined` since a log has changed. */
  #applied: Position | undefined
  readonly #pending: Pending[] = []
  /** How many records of its own log are on disk. */
  #flushed = 0
  /** It has lost the end of its log, or may have. */
  #torn = true
  #hlc!: HybridLogicalClock
  /** On disk: no stamp beyond it was ever given out. */
  #bound = 0n
  #walWriter: Timer | undefined

  constructor(context: PeerContext, spec: SimulatedServerSpec, system: string) {
    super(context, spec)
    this.context = context
    this.system = system
    this.clock = context.simulation.clock(`server ${spec.id}`)
    this.gossip = new Gossip(this)
  }

  get writable(): boolean {
    return true
  }

  registerOf(key: string): string {
    return `${key}@${this.#logName}`
  }

  registersOf(key: string): readonly string[] {
    return this.context.logNames.map(name => `${key}@${name}`)
  }

  /** The records of a log that its readers see. */
  recordsOf(log: string): readonly Kept[] {
    return this.#logs.get(log) ?? []
  }

  get logs(): Iterable<string> {
    return this.#logs.keys()
  }

  /** For each log, up to where its readers see it. */
  get applied(): Position {
    this.#applied ??= Position.of(
      [...this.#logs].flatMap(([lineage, kept]) => {
        const offset = kept.at(-1)?.record.stamp
        return offset === undefined ? [] : [{ lineage, offset }]
      }),
    )
    return this.#applied
  }

  /** Stamped, then on disk, then visible, in the order of the stamps. An asynchronous commit does not wait for the disk. */
  commit(transaction: Transaction, done: (error?: ServerError) => void): void {
    const { versions, asyncCommit } = transaction
    const finish = (error?: ServerError) => {
      this.locks.release(transaction)
      done(error)
    }
    const record = this.#stamped(versions)
    if (record === undefined || record instanceof ServerError) {
      finish(record)
      return
    }
    for (const version of versions) this.context.committed(version)
    this.#pending.push({ record, ready: asyncCommit, done: finish })
    if (asyncCommit) {
      this.#show()
      this.#walWriter ??= this.later(this.draw(this.context.times.walWriterMs), () => {
        this.#walWriter = undefined
        this.#flush(Number.POSITIVE_INFINITY)
      })
    } else this.later(this.draw(this.context.times.flushMs), () => this.#flush(record.index))
  }

  /** Applies a record of another peer. False when one before it is missing. Throws when the clocks of the two are too far apart. */
  apply(record: PeerRecord): boolean {
    const kept = this.#logs.get(record.log)
    const count = kept?.length ?? 0
    if (record.index > count) return false
    if (record.index < count || record.log === this.log) return true
    this.#hlc.receive(record.stamp)
    this.#keep(record)
    return true
  }

  replay(): void {
    this.gossip.replay()
  }

  describe(kind: 'position' | 'check' | 'log-end' | 'timeline-history'): Answer | ServerError {
    switch (kind) {
      case 'position':
        return this.#position()
      case 'check':
        return { ...this.#position(), system: this.system, started: this.lifeId, geometry: undefined }
      case 'log-end': {
        const kept = this.recordsOf(this.log)
        return { insert: kept.at(-1)?.record.stamp ?? 0n, flush: kept[this.#flushed - 1]?.record.stamp ?? 0n }
      }
      case 'timeline-history':
        return new ServerError('not-supported', 'there are no timelines here')
    }
  }

  /** Its data directory is replaced by what `source` had at a time. Its own log is another from here on. */
  restore(source: Peer, until: number): void {
    const copy = [...source.#logs].map(([log, kept]) => [log, kept.filter(({ since }) => since <= until)] as const)
    this.#logs.clear()
    this.#applied = undefined
    for (const [log, kept] of copy) this.#logs.set(log, kept)
    this.#torn = true
  }

  protected started(): void {
    if (this.#torn) {
      const generation = this.context.nextGeneration(this.id)
      this.log = lineageOf(`${this.system}/${this.id}`, generation)
      this.#logName = logName(this.id, generation)
      this.#flushed = 0
    }
    this.#torn = false
    this.#hlc = new HybridLogicalClock({
      clock: this.clock,
      bound: this.#bound,
      persist: bound => {
        this.#bound = bound
      },
    })
    this.data.clear()
    for (const kept of this.#logs.values()) for (const { record } of kept) this.#enter(record)
    // Every life leaves a record: a log is never empty.
    this.#keep(this.#write([]))
    this.#flushed = this.recordsOf(this.log).length
    this.gossip.start()
  }

  protected ended(lost: boolean, told: boolean): void {
    this.#walWriter?.cancel()
    this.#walWriter = undefined
    this.#pending.length = 0
    this.gossip.stop(told)
    const own = this.#logs.get(this.log)
    if (lost) {
      own?.splice(this.#flushed)
      this.#applied = undefined
      this.#torn = true
    } else this.#flushed = own?.length ?? 0
  }

  #write(versions: readonly Version[]): PeerRecord {
    const index = this.recordsOf(this.log).length + this.#pending.length
    const writtenAt = this.context.simulation.now()
    return { log: this.log, index, stamp: this.#hlc.now(), writtenAt, versions }
  }

  /** `undefined` when nothing is to be written. */
  #stamped(versions: readonly Version[]): PeerRecord | ServerError | undefined {
    try {
      return versions.length === 0 ? undefined : this.#write(versions)
    } catch (error) {
      return new ServerError('no-stamp', String(error))
    }
  }

  #flush(index: number): void {
    for (const pending of this.#pending) if (pending.record.index <= index) pending.ready = true
    this.#show()
    this.#flushed = Math.max(this.#flushed, Math.min(index + 1, this.recordsOf(this.log).length))
  }

  #show(): void {
    while (this.#pending[0]?.ready) {
      const { record, done } = this.#pending.shift()!
      this.#keep(record)
      for (const version of record.versions) this.context.shown(version)
      done()
    }
    this.gossip.pump()
  }

  #keep(record: PeerRecord): void {
    const kept = this.#logs.get(record.log)
    const entry = { record, since: this.context.simulation.now() }
    this.#applied = undefined
    if (kept === undefined) this.#logs.set(record.log, [entry])
    else kept.push(entry)
    this.#enter(record)
  }

  #enter({ versions }: PeerRecord): void {
    for (const version of versions) this.data.set(version.key, version)
  }

  #position(): PositionRow {
    return { recovering: false, received: null, applied: 0n, timeline: null, peer: { log: this.log, applied: this.applied } }
  }
}

/** How the registers of a log are named. */
export function logName(id: string, generation: number): string {
  return `${id}.${generation}`
}
