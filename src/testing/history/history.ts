import { HistoryError } from './history-error.js'
import type { AskedGuarantee, GaugeRecord, HistoryRecord, OperationRecord } from './record.js'
import { SessionLog } from './session-log.js'
import { VersionForest } from './version-forest.js'

/** All records in the shape in which the rules ask for them. */
export class History {
  readonly forest = new VersionForest()
  readonly operations: OperationRecord[] = []
  readonly gauges: GaugeRecord[] = []
  readonly sessions = new Map<string, SessionLog>()
  #latest: OperationRecord | undefined
  readonly #ids = new Set<number>()
  #records = 0

  /** Throws {@link HistoryError} when it contradicts what was added before. */
  add(record: HistoryRecord): void {
    this.#records++
    try {
      if (record.type === 'op') this.#addOperation(record)
      else if (record.type === 'version') this.forest.addDeclaration(record)
      else if (record.type === 'final') this.forest.addFinal(record)
      else this.gauges.push(record)
    } catch (error) {
      throw new HistoryError(`record ${this.#records}`, this.#records, (error as Error).message)
    }
  }

  /** To be called once, when all has been added. Throws {@link HistoryError} when versions descend from each other in a circle. */
  build(): this {
    try {
      this.forest.build()
    } catch (error) {
      throw new HistoryError('the history', undefined, (error as Error).message)
    }
    for (const operation of this.operations) this.session(operation.session).addReport(operation)
    for (const session of this.sessions.values()) session.sortReports()
    const acknowledged = this.operations.filter(({ status }) => status === 'ok').sort((a, b) => a.end! - b.end!)
    for (const operation of acknowledged) this.session(operation.session).addOperation(operation, this.forest)
    return this
  }

  /** The operation that began or ended last. There must be one. */
  get latest(): OperationRecord {
    return this.#latest!
  }

  session(name: string): SessionLog {
    let session = this.sessions.get(name)
    if (session === undefined) {
      session = new SessionLog()
      this.sessions.set(name, session)
    }
    return session
  }

  #addOperation(operation: OperationRecord): void {
    const { id, status, start, end, reads = [], writes = [] } = operation
    if (this.#ids.has(id)) throw new Error(`the id ${id} is there twice; ids are unique`)
    if (status === 'ok' && end === undefined)
      throw new Error(`operation ${id} is "ok" and has no "end"; expected when it was answered`)
    if (end !== undefined && !(end >= start)) throw new Error(`operation ${id} ends at ${end}, before its start at ${start}`)
    this.#ids.add(id)
    this.operations.push(operation)
    if (this.#latest === undefined || timeOf(operation) > timeOf(this.#latest)) this.#latest = operation
    for (const [key, value, prev] of writes) this.forest.addWrite(key, value, prev, operation)
    for (const [key] of reads) this.forest.addKey(key)
  }
}

/** What was asked for. */
export function askedOf(operation: OperationRecord): AskedGuarantee {
  return operation.asked ?? 'read-your-writes'
}

/** What the answer says that it is. */
export function achievedOf(operation: OperationRecord): AskedGuarantee {
  return operation.achieved ?? askedOf(operation)
}

/** When it was last heard of. */
export function timeOf({ start, end }: OperationRecord): number {
  return end ?? start
}
