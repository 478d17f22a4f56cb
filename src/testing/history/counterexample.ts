import type { Finding } from './findings.js'
import type { HistoryRecord } from './record.js'

/** Whether the finding is there when nothing but these records is. */
export type Shows = (records: readonly HistoryRecord[]) => boolean

/**
 * The records of a finding and of its context without what is not needed. Whether something is needed, the rules themselves say: it
 * is taken away, half of the rest at a time and at last one by one, and stays away if they still find the same.
 */
export function smallestCounterexample({ records, context }: Finding, shows: Shows): HistoryRecord[] {
  const [atFault, ...others] = new Set([...records, ...context])
  let needed = others.reverse()
  for (let size = needed.length; size >= 1; size = Math.floor(size / 2)) {
    for (let from = 0; from < needed.length; ) {
      const fewer = needed.toSpliced(from, size)
      if (shows([atFault!, ...fewer])) needed = fewer
      else from += size
    }
  }
  // What was needed at first may not be any more, now that others have gone.
  for (let from = 0; from < needed.length; ) {
    const fewer = needed.toSpliced(from, 1)
    if (shows([atFault!, ...fewer])) {
      needed = fewer
      from = 0
    } else from++
  }
  return [atFault!, ...needed].sort((a, b) => timeOf(a) - timeOf(b))
}

function timeOf(record: HistoryRecord): number {
  if (record.type === 'op') return record.start
  return record.type === 'version' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY
}
