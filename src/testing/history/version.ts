import type { OperationRecord, VersionRecord } from './record.js'

/** One version of one key: a node of the key's tree. */
export class Version {
  readonly key: string
  /** `null`: the root, "never written". */
  readonly value: string | null
  /** What it replaced; `undefined` for the root, and where the history does not say. */
  parent: Version | undefined
  writer: OperationRecord | undefined
  declaration: VersionRecord | undefined
  /** The oldest version that it is known to descend from: the root when all of its line is known. */
  top: Version = this
  firstChild: Version | undefined
  nextSibling: Version | undefined
  /** A walk over the tree gives each version its number, and the greatest number below it. */
  first = -1
  last = -1

  constructor(key: string, value: string | null) {
    this.key = key
    this.value = value
  }

  /** Whether this is `other`, or a known ancestor of it. */
  isAncestorOrSelf(other: Version): boolean {
    return this.first <= other.first && other.first <= this.last
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
  const { writer } = top
  // Only an acknowledged write has certainly taken effect when it ended.
  const wasThere = writer?.status === 'ok' && written.writer !== undefined && writer.end! <= written.writer.start
  return wasThere ? false : undefined
}

/** Gives `top` and the versions below it their numbers, from `number` on; returns the next free one. Without recursion: lines are long. */
export function numberTree(top: Version, number: number): number {
  let next = number
  let version = top
  for (;;) {
    version.top = top
    version.first = next++
    if (version.firstChild !== undefined) {
      version = version.firstChild
      continue
    }
    version.last = version.first
    while (version !== top && version.nextSibling === undefined) {
      version = version.parent!
      version.last = next - 1
    }
    if (version === top) return next
    version = version.nextSibling!
  }
}
