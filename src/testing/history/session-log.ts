import type { KeyVersions } from './key-versions.js'
import type { Operation } from './operation.js'
import type { OperationRecord } from './record.js'
import { Timeline } from './timeline.js'
import type { Version } from './version.js'

/** What one session did with one key. */
export class KeyLog {
  /** Its acknowledged writes. */
  written: Timeline | undefined
  /** What its reads showed. */
  seen: Timeline | undefined
  /** What those of its reads showed that promise monotonic reads. */
  seenMonotonic: Timeline | undefined
  /** The latest read with read-your-writes that showed what is part of the final value. */
  keptRead: Operation | undefined
}

/** The report that ended last of some, and the one that ended last of the others. */
interface LatestReports {
  readonly latest: OperationRecord
  readonly second: OperationRecord | undefined
}

/** What one session did, and what it was told. */
export class SessionLog {
  readonly #keys = new Map<KeyVersions, KeyLog>()
  readonly #acknowledged: Operation[] = []
  readonly #reports: OperationRecord[] = []
  /** Of the reports up to each one. */
  readonly #latest: LatestReports[] = []

  /** `undefined`: nothing that was acknowledged. */
  key(key: KeyVersions): KeyLog | undefined {
    return this.#keys.get(key)
  }

  add(operation: Operation): void {
    const { record } = operation
    if (operation.acknowledged) this.#acknowledged.push(operation)
    if (record.reportsLoss === true && record.end !== undefined) this.#reports.push(record)
  }

  /**
   * To be called once, when all has been added and the versions know their places. Logs one operation after the other, in the order of
   * their ends, and calls back before each: by then all that precedes it has been logged.
   */
  build(each: (operation: Operation) => void): void {
    this.#sortReports()
    this.#acknowledged.sort((a, b) => a.end - b.end || a.start - b.start)
    for (const operation of this.#acknowledged) {
      each(operation)
      this.#log(operation)
    }
  }

  #sortReports(): void {
    this.#reports.sort((a, b) => a.start - b.start)
    for (const report of this.#reports) {
      const [latest, second] = [report, this.#latest.at(-1)?.latest, this.#latest.at(-1)?.second]
        .filter(each => each !== undefined)
        .sort((a, b) => b.end! - a.end!)
      this.#latest.push({ latest: latest!, second })
    }
  }

  #log(operation: Operation): void {
    const { reads, writes, achieved } = operation
    for (const version of reads) {
      const log = this.#keyLog(version.of)
      if (version.fate === 'kept' && achieved !== 'eventual' && !(log.keptRead && log.keptRead.start > operation.start)) {
        log.keptRead = operation
      }
      if (version.value === null) continue
      log.seen = this.#saw(log.seen, version, operation)
      if (achieved === 'monotonic-reads') log.seenMonotonic = this.#saw(log.seenMonotonic, version, operation)
    }
    for (const version of writes) {
      const log = this.#keyLog(version.of)
      if (log.written === undefined) log.written = new Timeline(version, operation)
      else log.written.add(version, operation)
    }
  }

  #saw(timeline: Timeline | undefined, version: Version, operation: Operation): Timeline {
    if (timeline === undefined) return new Timeline(version, operation)
    // The same again obliges to nothing more, unless there was a report in between.
    const again = timeline.last.version === version && (version.fate === 'kept' || this.#reports.length === 0)
    if (!again) timeline.add(version, operation)
    return timeline
  }

  #keyLog(key: KeyVersions): KeyLog {
    let log = this.#keys.get(key)
    if (log === undefined) {
      log = new KeyLog()
      this.#keys.set(key, log)
    }
    return log
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
}
