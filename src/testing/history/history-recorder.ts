import type { HistoryRecord, OperationRecord } from './record.js'

/** What is known of an operation when it begins. */
export type Begun = Omit<OperationRecord, 'type' | 'id' | 'start' | 'end' | 'status'>

/** What is known of it in the end; it replaces and completes what was known at first. */
export type Ended = Pick<OperationRecord, 'status'> & Partial<Omit<Begun, 'session'>>

/** An operation under way. */
export type Pending = Pick<OperationRecord, 'id' | 'start'>

export interface HistoryRecorderOptions {
  /** Gets each record as it is made. Default: they are kept in `records`. */
  readonly onRecord?: (record: HistoryRecord) => void
  /** Milliseconds, never going back; the same clock for the whole history. Default `performance.now`. */
  readonly now?: () => number
}

/** Gives operations their ids and times. Operations are recorded as they end, so what is still under way is no part of it until `close`. */
export class HistoryRecorder {
  readonly records: HistoryRecord[] = []
  readonly #onRecord: (record: HistoryRecord) => void
  readonly #now: () => number
  readonly #pending = new Map<Pending, Begun>()
  #nextId = 1

  constructor({ onRecord, now = () => performance.now() }: HistoryRecorderOptions = {}) {
    this.#onRecord = onRecord ?? (record => this.records.push(record))
    this.#now = now
  }

  /** To be called right before the operation is sent. Say what it writes: should no answer come, it may have been written. */
  begin(begun: Begun): Pending {
    const pending: Pending = { id: this.#nextId++, start: this.#now() }
    this.#pending.set(pending, begun)
    return pending
  }

  /** To be called right after the answer came. Throws when the operation has ended before. */
  end(pending: Pending, ended: Ended): OperationRecord {
    return this.#record(pending, { end: this.#now(), ...ended })
  }

  /** Of a version, a final value, or a gauge. */
  add(record: Exclude<HistoryRecord, OperationRecord>): void {
    this.#onRecord(record)
  }

  /** Records what is still under way as operations whose answer never came. */
  close(): void {
    for (const pending of this.#pending.keys()) this.#record(pending, { status: 'unknown' })
  }

  #record(pending: Pending, ended: Ended & Pick<OperationRecord, 'end'>): OperationRecord {
    const begun = this.#pending.get(pending)
    if (begun === undefined) throw new Error(`operation ${pending.id} has ended before, or was not begun with this recorder`)
    this.#pending.delete(pending)
    const record: OperationRecord = { type: 'op', ...pending, ...begun, ...ended }
    this.#onRecord(record)
    return record
  }
}
