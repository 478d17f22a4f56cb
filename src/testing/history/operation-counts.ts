import type { OperationRecord } from './record.js'
import type { HistoryCounts } from './report.js'

/** Counts operations as they are added. */
export class OperationCounts {
  readonly #statuses = { ok: 0, failed: 0, unknown: 0 }
  readonly #paths = new Map<string, { operations: number }>()
  #reads = 0
  #writes = 0

  add({ status, reads, writes, path }: OperationRecord): void {
    this.#statuses[status]++
    if (reads?.length) this.#reads++
    if (writes?.length) this.#writes++
    if (path === undefined) return
    const count = this.#paths.get(path)
    if (count === undefined) this.#paths.set(path, { operations: 1 })
    else count.operations++
  }

  get(): Omit<HistoryCounts, 'sessions' | 'keys'> {
    const { ok, failed, unknown } = this.#statuses
    return {
      operations: ok + failed + unknown,
      ...this.#statuses,
      reads: this.#reads,
      writes: this.#writes,
      paths: Object.fromEntries([...this.#paths].map(([path, { operations }]) => [path, operations])),
    }
  }
}
