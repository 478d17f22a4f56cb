import type { AskedGuarantee, OperationRecord, ReadValue, WrittenValue } from '../testing/history/record.js'

/** A run ends early when it has recorded this many operations: they are all in memory. */
export const MAX_OPERATIONS = 2_000_000

/** What is measured of a path, besides its history. */
export interface Measured {
  writes: number
  /** Reads that were answered. */
  reads: number
  /** Rounds in which a read without a fence, sent to a replica at the time of the first read, missed the write. */
  atRisk: number
  /** Reads that got an error in place of an answer. */
  refused: number
  /** Reads that the primary served. */
  fallbacks: number
  /** Reads whose outcome says that they got less than was asked: by a rung that allows it. */
  degraded: number
  readonly fencedMs: number[]
  readonly rawMs: number[]
  /** The largest staleness window of a node that served; `undefined` while none is known. */
  stalenessMs: number | undefined
  /** The first error, in words. */
  error: string | undefined
}

export interface Operation {
  readonly path: string
  readonly session: string
  readonly start: number
  readonly status: OperationRecord['status']
  readonly reads?: readonly ReadValue[]
  readonly writes?: readonly WrittenValue[]
  readonly asked?: AskedGuarantee
  readonly achieved?: AskedGuarantee
  readonly mayDegrade?: boolean
  readonly reportsLoss?: boolean
  readonly fromOwnCache?: boolean
  readonly error?: string
}

/** Takes down what clients asked and were answered: one history for all paths. */
export class Recorder {
  readonly records: OperationRecord[] = []
  readonly #paths = new Map<string, Measured>()

  get full(): boolean {
    return this.records.length >= MAX_OPERATIONS
  }

  /** Enters an operation that has ended now. */
  add(operation: Operation): void {
    this.records.push({ type: 'op', id: this.records.length, end: performance.now(), ...operation })
  }

  /** By path, in the order of first use. */
  get paths(): ReadonlyMap<string, Measured> {
    return this.#paths
  }

  of(path: string): Measured {
    const known = this.#paths.get(path)
    if (known !== undefined) return known
    const created: Measured = {
      writes: 0,
      reads: 0,
      atRisk: 0,
      refused: 0,
      fallbacks: 0,
      degraded: 0,
      fencedMs: [],
      rawMs: [],
      stalenessMs: undefined,
      error: undefined,
    }
    this.#paths.set(path, created)
    return created
  }

  get reads(): number {
    let sum = 0
    for (const { reads } of this.#paths.values()) sum += reads
    return sum
  }
}
