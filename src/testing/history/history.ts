import { HistoryError } from './history-error.js'
import { KeyVersions } from './key-versions.js'
import { Operation } from './operation.js'
import { OperationCounts } from './operation-counts.js'
import type { GaugeRecord, HistoryRecord, OperationRecord } from './record.js'
import { SessionLog } from './session-log.js'
import type { Version } from './version.js'

/** All records in the shape in which the rules ask for them: first everything is added, then `build`, then it is asked. */
export class History {
  readonly operations: Operation[] = []
  readonly gauges: GaugeRecord[] = []
  readonly keys = new Map<string, KeyVersions>()
  readonly sessions = new Map<string, SessionLog>()
  readonly counts = new OperationCounts()
  /** The operation that began or ended last; when. */
  latest: OperationRecord | undefined
  latestTime = Number.NEGATIVE_INFINITY
  readonly #ids = new Set<number>()
  #written: Map<string, Version> | undefined
  #records = 0

  /** Throws {@link HistoryError} when it contradicts what was added before. */
  add(record: HistoryRecord): void {
    this.#records++
    try {
      if (record.type === 'op') this.#addOperation(record)
      else if (record.type === 'version') this.#key(record.key).addDeclaration(record)
      else if (record.type === 'final') this.#key(record.key).addFinal(record)
      else this.gauges.push(record)
    } catch (error) {
      throw new HistoryError(`record ${this.#records}`, this.#records, (error as Error).message)
    }
  }

  /**
   * To be called once, when all has been added; calls back for what is acknowledged, as {@link SessionLog.build} does. Throws
   * {@link HistoryError} when versions descend from each other in a circle.
   */
  build(each: (operation: Operation) => void): void {
    try {
      for (const key of this.keys.values()) key.build()
    } catch (error) {
      throw new HistoryError('the history', undefined, (error as Error).message)
    }
    for (const session of this.sessions.values()) session.build(each)
  }

  /** A version with that value, of whichever key, that was written. */
  writtenTo(value: string): Version | undefined {
    this.#written ??= new Map(
      this.operations.flatMap(({ writes }) => writes.map(version => [version.value!, version] as const)).reverse(),
    )
    return this.#written.get(value)
  }

  #key(name: string): KeyVersions {
    let key = this.keys.get(name)
    if (key === undefined) {
      key = new KeyVersions(name)
      this.keys.set(name, key)
    }
    return key
  }

  #session(name: string): SessionLog {
    let session = this.sessions.get(name)
    if (session === undefined) {
      session = new SessionLog()
      this.sessions.set(name, session)
    }
    return session
  }

  #addOperation(record: OperationRecord): void {
    const { id, status, start, end } = record
    if (this.#ids.has(id)) throw new Error(`the id ${id} is there twice; ids are unique`)
    if (status === 'ok' && end === undefined)
      throw new Error(`operation ${id} is "ok" and has no "end"; expected when it was answered`)
    if (end !== undefined && !(end >= start)) throw new Error(`operation ${id} ends at ${end}, before its start at ${start}`)
    this.#ids.add(id)
    this.#noteTime(record, end ?? start)
    this.counts.add(record)
    const operation = new Operation(record, this.#session(record.session))
    if (record.writes?.length) {
      operation.writes = record.writes.map(write => this.#key(write[0]).addWrite(write, operation))
    }
    if (record.reads?.length) {
      operation.reads = record.reads.map(read => this.#key(read[0]).addRead(read, operation))
    }
    this.operations.push(operation)
    operation.session.add(operation)
  }

  #noteTime(record: OperationRecord, time: number): void {
    if (time <= this.latestTime) return
    this.latest = record
    this.latestTime = time
  }
}
