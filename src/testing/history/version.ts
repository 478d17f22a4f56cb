import type { KeyVersions } from './key-versions.js'
import type { Operation } from './operation.js'
import type { HistoryRecord, VersionRecord } from './record.js'

/** What became of a version: part of what the key holds in the end, or not. */
export type Fate = 'kept' | 'lost' | 'unknown'

/** One version of one key: a node of the key's tree. */
export class Version {
  readonly of: KeyVersions
  /** `null`: the root, "never written". */
  readonly value: string | null
  /** What it replaced; `undefined` for the root, and where the history does not say. */
  parent: Version | undefined
  writer: Operation | undefined
  declaration: VersionRecord | undefined
  fate: Fate = 'unknown'
  /** The oldest version that it is known to descend from: the root when all of its line is known. */
  top: Version = this
  firstChild: Version | undefined
  nextSibling: Version | undefined
  /** A walk over the key's trees gives each version its number, and the greatest number below it. */
  first = -1
  last = -1
  /** When the writer of it, or of an ancestor, began, whichever began last. */
  newestStart = Number.NEGATIVE_INFINITY
  /** Whether it, or an ancestor, was written together with another key. */
  together = false
  /** The earliest time at which it, or a descendant, was begun to be written or had been read. */
  firstSign = Number.POSITIVE_INFINITY
  /** The earliest sign of any version that this one does not certainly include. */
  outgrown = Number.POSITIVE_INFINITY

  constructor(of: KeyVersions, value: string | null) {
    this.of = of
    this.value = value
  }

  get key(): string {
    return this.of.key
  }

  /** Whether this is `other`, or a known ancestor of it. */
  isAncestorOrSelf(other: Version): boolean {
    return this.first <= other.first && other.first <= this.last
  }

  /** The records that say that it was written. */
  records(): HistoryRecord[] {
    return [this.writer?.record, this.declaration].filter(record => record !== undefined)
  }
}

/**
 * Whether whoever sees `shown` sees `written`, both of one key: whether it is the same version or an ancestor. `undefined`
 * when the history does not say, which happens only where the line of `shown` is not known up to the root. Then `written`
 * could be above the top of that line, unless it is below it, or began when the top was there already.
 */
export function includes(shown: Version, written: Version): boolean | undefined {
  if (written.value === null || written.isAncestorOrSelf(shown)) return true
  const { top } = shown
  if (top.value === null || top.isAncestorOrSelf(written)) return false
  const above = written.writer
  const below = top.writer
  // Only an acknowledged write has certainly taken effect when it ended.
  const wasThere = below?.acknowledged && above !== undefined && below.end <= above.start
  return wasThere ? false : undefined
}
