import type { OperationRecord } from './record.js'
import { includes, type Version } from './version.js'
import type { Fate } from './version-forest.js'

/** How far a case is followed before it counts as not decidable. Only versions of unknown descent come near it. */
const MAX_STEPS = 64

export interface Entry {
  readonly version: Version
  readonly operation: OperationRecord
  readonly fate: Fate
  /** The newest earlier entry that this version is not known to include; -1: there is none. */
  readonly uncovered: number
  /** The newest earlier entry that is not excused whenever this one is; -1: there is none. */
  readonly unexcused: number
}

/** Whether an entry obliges no longer. `maybe`: the history does not say. */
export type Excuse = (entry: Entry) => 'yes' | 'maybe' | 'no'

/** What is missing; `undefined` when the history does not say; `null` when nothing is. */
export type Missing = Entry | undefined | null

/**
 * What a session wrote, or read, of one key: versions in the order in which their operations completed. Whoever comes later
 * must include them all. As a version includes what its ancestors include, each entry knows which earlier ones it vouches for, and a
 * question takes one step in a store without branches, however long the session.
 */
export class Timeline {
  readonly #entries: Entry[] = []

  get last(): Entry | undefined {
    return this.#entries.at(-1)
  }

  [Symbol.iterator](): Iterator<Entry> {
    return this.#entries[Symbol.iterator]()
  }

  /** Operations come in the order of their ends. */
  add(version: Version, operation: OperationRecord, fate: Fate): void {
    const covers = (earlier: Entry) => includes(version, earlier.version) === true
    const uncovered = this.#skip(covers, 'uncovered')
    const excusesToo = (earlier: Entry) => earlier.fate === fate && earlier.operation.start <= operation.start && covers(earlier)
    const unexcused = fate === 'kept' ? this.#entries.length - 1 : this.#skip(excusesToo, 'unexcused')
    this.#entries.push({ version, operation, fate, uncovered, unexcused })
  }

  /** Follows one kind of pointer while the entries there satisfy `holds`. To stop early is sound: it only makes questions longer. */
  #skip(holds: (entry: Entry) => boolean, pointer: 'uncovered' | 'unexcused'): number {
    let index = this.#entries.length - 1
    for (let steps = 0; index >= 0 && steps < MAX_STEPS && holds(this.#entries[index]!); steps++) {
      index = this.#entries[index]![pointer]
    }
    return index
  }

  /** What of the entries that precede `operation` a state that shows `shown` lacks, the newest first. */
  missing(shown: Version, operation: OperationRecord, excuse: Excuse): Missing {
    let index = this.#countBefore(operation.start) - 1
    let undecided = false
    for (let steps = 0; index >= 0; steps++) {
      if (steps === MAX_STEPS) return undefined
      const entry = this.#entries[index]!
      const included = includes(shown, entry.version)
      if (included === true) {
        index = entry.uncovered
      } else if (!precedes(entry.operation, operation)) {
        index--
      } else {
        const excused = excuse(entry)
        if (excused === 'no' && included === false) return entry
        if (excused !== 'yes') undecided = true
        index = excused === 'no' ? index - 1 : entry.unexcused
      }
    }
    return undecided ? undefined : null
  }

  /** How many entries completed at `time` or before. */
  #countBefore(time: number): number {
    let low = 0
    let high = this.#entries.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#entries[middle]!.operation.end! <= time) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** Real time within a session. Two operations without duration at the same instant are concurrent. */
export function precedes(a: OperationRecord, b: OperationRecord): boolean {
  return a.end! <= b.start && a.start !== b.end
}
