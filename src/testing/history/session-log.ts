import type { OperationRecord } from './record.js'
import { Timeline } from './timeline.js'
import type { VersionForest } from './version-forest.js'

/** What one session did with one key. */
export class KeyLog {
  /** Its acknowledged writes. */
  readonly written = new Timeline()
  /** What its reads showed. */
  readonly seen = new Timeline()
  /** What those of its reads showed that promise monotonic reads. */
  readonly seenMonotonic = new Timeline()
  /** The latest read with read-your-writes that showed what is part of the final value. */
  keptRead: OperationRecord | undefined
}

/** What one session did, and what it was told. */
export class SessionLog {
  readonly keys = new Map<string, KeyLog>()
  readonly #reports: OperationRecord[] = []
  /** Of the reports up to each one, the latest end. */
  readonly #latestEnds: number[] = []

  addReport(operation: OperationRecord): void {
    if (operation.reportsLoss === true && operation.end !== undefined) this.#reports.push(operation)
  }

  sortReports(): void {
    this.#reports.sort((a, b) => a.start - b.start)
    let latest = Number.NEGATIVE_INFINITY
    for (const { end } of this.#reports) {
      latest = Math.max(latest, end!)
      this.#latestEnds.push(latest)
    }
  }

  /**
   * Until when the session has been told of losses, as seen by an operation: what began after that has not been reported. A report
   * counts unless it certainly came after the operation, and tells of all but what certainly came after the report: devices
   * of one user share what they are told, and only the certain is a violation.
   */
  toldUntil(operation?: OperationRecord): number {
    const end = operation?.end ?? Number.POSITIVE_INFINITY
    let low = 0
    let high = this.#reports.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#reports[middle]!.start <= end) low = middle + 1
      else high = middle
    }
    return this.#latestEnds[low - 1] ?? Number.NEGATIVE_INFINITY
  }

  key(key: string): KeyLog {
    let log = this.keys.get(key)
    if (log === undefined) {
      log = new KeyLog()
      this.keys.set(key, log)
    }
    return log
  }

  /** Acknowledged ones, in the order of their ends. */
  addOperation(operation: OperationRecord, forest: VersionForest): void {
    const achieved = operation.achieved ?? operation.asked ?? 'read-your-writes'
    for (const [key, value] of operation.reads ?? []) {
      const version = forest.find(key, value)
      if (version === undefined) continue
      const log = this.key(key)
      const fate = forest.fate(version)
      if (fate === 'kept' && achieved !== 'eventual' && !(log.keptRead && log.keptRead.start > operation.start)) {
        log.keptRead = operation
      }
      if (value === null) continue
      for (const timeline of achieved === 'monotonic-reads' ? [log.seen, log.seenMonotonic] : [log.seen]) {
        // The same again obliges to nothing more, unless there was a report in between.
        const again = timeline.last?.version === version && (fate === 'kept' || this.#reports.length === 0)
        if (!again) timeline.add(version, operation, fate)
      }
    }
    for (const [key, value] of operation.writes ?? []) {
      const version = forest.find(key, value)!
      this.key(key).written.add(version, operation, forest.fate(version))
    }
  }
}
