/** Histories as tests write them: one operation after the other, each a millisecond long, unless it is said otherwise. */
import type { HistoryRecord, OperationRecord, ReadValue, WrittenValue } from '../../src/testing/index.js'

export type Extra = Partial<Omit<OperationRecord, 'type' | 'session' | 'reads' | 'writes'>>

export class Script {
  readonly records: HistoryRecord[] = []
  #time = 0

  write(session: string, key: string, value: string, prev?: string | null, extra?: Extra): OperationRecord {
    return this.transaction(session, { writes: [prev === undefined ? [key, value] : [key, value, prev]] }, extra)
  }

  /** With monotonic reads, unless it is said otherwise, so that all guarantees are judged. */
  read(session: string, key: string, value: string | null, extra?: Extra): OperationRecord {
    return this.snapshot(session, [[key, value]], extra)
  }

  snapshot(session: string, reads: readonly ReadValue[], extra?: Extra): OperationRecord {
    return this.transaction(session, { reads }, { asked: 'monotonic-reads', ...extra })
  }

  transaction(
    session: string,
    parts: { readonly reads?: readonly ReadValue[]; readonly writes?: readonly WrittenValue[] },
    extra?: Extra,
  ): OperationRecord {
    const id = this.records.length + 1
    const operation: OperationRecord = {
      type: 'op',
      id,
      session,
      start: this.#time++,
      end: this.#time++,
      status: 'ok',
      ...parts,
      ...extra,
    }
    this.records.push(operation)
    return operation
  }

  version(key: string, value: string, prev: string | null): this {
    this.records.push({ type: 'version', key, value, prev })
    return this
  }

  final(key: string, value: string | null): this {
    this.records.push({ type: 'final', key, value })
    return this
  }
}
