import type { HistoryRecord } from './record.js'
import type { Version } from './version.js'

/** The records that tell how two versions are related: of their lines up to where they meet. */
export function relation(a: Version, b: Version): HistoryRecord[] {
  return [...a.records(), ...line(b, a), ...line(a, b)]
}

/** The records of a version and its ancestors, down to the first that `other` descends from. */
function line(version: Version, other: Version): HistoryRecord[] {
  const records: HistoryRecord[] = []
  for (let at: Version | undefined = version; at !== undefined && !at.isAncestorOrSelf(other); at = at.parent) {
    records.push(...at.records())
  }
  return records
}
