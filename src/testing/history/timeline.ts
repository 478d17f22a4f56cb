import { type Operation, precedes } from './operation.js'
import { includes, type Version } from './version.js'

/** How far a case is followed before it counts as not decidable. Only versions of unknown descent come near it. */
const MAX_STEPS = 64

export interface Entry {
  readonly version: Version
  readonly operation: Operation
  /** The newest earlier entry that this version is not known to include; -1: there is none. */
  readonly uncovered: number
  /** The newest earlier entry that is not excused whenever this one is; -1: there is none. */
  readonly unexcused: number
}

/** Whether what a session did obliges `operation` no longer. `maybe`: the history does not say. */
export type Excuse = (did: Entry, operation: Operation) => 'yes' | 'maybe' | 'no'

/** What is missing, or: nothing is; the history does not say; there was nothing to miss. */
export type Missing = Entry | 'nothing' | 'undecided' | 'vacuous'

/**
 * What a session wrote, or read, of one key: versions in the order in which their operations completed. Whoever comes later
 * must include them all. As a version includes what its ancestors include, each entry knows which earlier ones it vouches for, and a
 * question takes one step in a store without branches, however long the session.
 */
export class Timeline {
  readonly #entries: Entry[]

  /** Begins with what was done first. */
  constructor(version: Version, operation: Operation) {
    // Most timelines stay this short, and an array that grows takes more than it needs.
    this.#entries = [{ version, operation, uncovered: -1, unexcused: -1 }]
  }

  get last(): Entry {
    return this.#entries[this.#entries.length - 1]!
  }

  /** Operations come in the order of their ends; of those that end together, in that of their starts. */
  add(version: Version, operation: Operation): void {
    const last = this.#entries.length - 1
    let uncovered = last
    // To stop early is sound: it only makes questions longer.
    for (let steps = 0; uncovered >= 0 && steps < MAX_STEPS; steps++) {
      const earlier = this.#entries[uncovered]!
      if (includes(version, earlier.version) !== true) break
      uncovered = earlier.uncovered
    }
    let unexcused = last
    for (let steps = 0; version.fate !== 'kept' && unexcused >= 0 && steps < MAX_STEPS; steps++) {
      const earlier = this.#entries[unexcused]!
      if (!excusesToo(version, operation, earlier)) break
      unexcused = earlier.unexcused
    }
    this.#entries.push({ version, operation, uncovered, unexcused })
  }

  /** What of the entries that precede `operation` a state that shows `shown` lacks, the newest first. */
  missing(shown: Version, operation: Operation, excuse: Excuse): Missing {
    let index = this.#countBefore(operation.start) - 1
    if (index < 0 || !precedes(this.#entries[0]!.operation, operation)) return 'vacuous'
    let undecided = false
    for (let steps = 0; index >= 0; steps++) {
      if (steps === MAX_STEPS) return 'undecided'
      const entry = this.#entries[index]!
      const included = includes(shown, entry.version)
      if (included === true) {
        index = entry.uncovered
      } else if (!precedes(entry.operation, operation)) {
        index--
      } else {
        const excused = excuse(entry, operation)
        if (excused === 'no' && included === false) return entry
        if (excused !== 'yes') undecided = true
        index = excused === 'no' ? index - 1 : entry.unexcused
      }
    }
    return undecided ? 'undecided' : 'nothing'
  }

  /** How many entries completed at `time` or before. */
  #countBefore(time: number): number {
    if (this.last.operation.end <= time) return this.#entries.length
    let low = 0
    let high = this.#entries.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#entries[middle]!.operation.end <= time) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** Whether an excuse for `version` is one for the earlier entry: a report excuses what came before it, but not what its own operation wrote. */
function excusesToo(version: Version, operation: Operation, earlier: Entry): boolean {
  return (
    earlier.version.fate === version.fate &&
    earlier.operation.start <= operation.start &&
    earlier.operation.record.reportsLoss !== true &&
    includes(version, earlier.version) === true
  )
}
