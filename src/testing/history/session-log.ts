import { achievedOf } from './guarantee.js'
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

/** The report that ended last of some, and the one that ended last of the others. */
interface LatestReports {
  readonly latest: OperationRecord
  readonly second: OperationRecord | undefined
}

/** What one session did, and what it was told. */
export class SessionLog {
  readonly keys = new Map<string, KeyLog>()
  readonly #reports: OperationRecord[] = []
  /** Of the reports up to each one. */
  readonly #latest: LatestReports[] = []

  addReport(operation: OperationRecord): void {
    if (operation.reportsLoss === true && operation.end !== undefined) this.#reports.push(operation)
  }

  sortReports(): void {
    this.#reports.sort((a, b) => a.start - b.start)
    for (const report of this.#reports) {
      const [latest, second] = [report, this.#latest.at(-1)?.latest, this.#latest.at(-1)?.second]
        .filter(each => each !== undefined)
        .sort((a, b) => b.end! - a.end!)
      this.#latest.push({ latest: latest!, second })
    }
  }

  /**
   * Whether the session has been told that what `did` wrote or read may be lost, by the time of `read` or at all. A report counts unless
   * it certainly came after the read, and tells of all but its own writes and what certainly came after it: devices of one user share
   * what they are told, and only what is certain is a violation.
   */
  wasTold(did: OperationRecord, read?: OperationRecord): boolean {
    if (this.#reports.length === 0) return false
    const reports = this.#latest[this.#countStarted(read?.end ?? Number.POSITIVE_INFINITY) - 1]
    const report = reports?.latest === did ? reports.second : reports?.latest
    return report !== undefined && report.end! >= did.start
  }

  /** How many reports had begun at `time` or before. */
  #countStarted(time: number): number {
    let low = 0
    let high = this.#reports.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#reports[middle]!.start <= time) low = middle + 1
      else high = middle
    }
    return low
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
    const achieved = achievedOf(operation)
    for (const [key, value] of operation.reads ?? []) {
      const version = forest.get(key, value)
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
      const version = forest.get(key, value)
      this.key(key).written.add(version, operation, forest.fate(version))
    }
  }
}
