import type { Finding } from './findings.js'
import type { HistoryRecord } from './record.js'

/** Whether the finding is there when nothing but these records is. */
export type Shows = (records: readonly HistoryRecord[]) => boolean

/** How much of a context is tried first: a long line of versions is rarely needed when the times tell as much. */
const SHORT = 32
/** How many records may be judged in search of the smallest counterexample, all attempts together. */
const MAX_JUDGED = 10_000

/**
 * The records of a finding and of its context without what is not needed. Whether something is needed, the rules themselves say: it
 * is taken away, half of the rest at a time and at last one by one, and stays away if they still find the same. Only a line of
 * about a hundred versions or more, all of them needed, may come out longer than it has to be.
 */
export function smallestCounterexample({ records, context }: Finding, shows: Shows): HistoryRecord[] {
  const [atFault, ...others] = new Set([...records, ...context.slice(0, SHORT)])
  const all = [...new Set([...others, ...context])]
  const attempts = new Attempts(some => shows([atFault!, ...some]))
  const enough = attempts.suffice(others) ? others : all.filter(record => record !== atFault)
  const needed = withoutParts(enough.reverse(), attempts)
  return [atFault!, ...needed].sort((a, b) => timeOf(a) - timeOf(b))
}

class Attempts {
  readonly #shows: Shows
  #budget = MAX_JUDGED

  constructor(shows: Shows) {
    this.#shows = shows
  }

  allows(count: number): boolean {
    return this.#budget > count
  }

  suffice(records: readonly HistoryRecord[]): boolean {
    this.#budget -= records.length + 1
    return this.#shows(records)
  }
}

function withoutParts(all: readonly HistoryRecord[], attempts: Attempts): readonly HistoryRecord[] {
  let needed = all
  for (let size = Math.max(1, needed.length); size >= 1; size = Math.floor(size / 2)) {
    for (let from = 0; from < needed.length && attempts.allows(needed.length); ) {
      const fewer = needed.toSpliced(from, size)
      if (attempts.suffice(fewer)) {
        needed = fewer
        // What was needed before may not be any more, now that this has gone.
        if (size === 1) from = 0
      } else from += size
    }
  }
  return needed
}

function timeOf(record: HistoryRecord): number {
  if (record.type === 'op') return record.start
  return record.type === 'version' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY
}
