/**
 * A session's causal history: what its author wrote, what it has read, and whether something is in doubt.
 * This is what a token carries and what fences are made from.
 */
import type { Guarantee } from './outcome.js'
import { MAX_OFFSET, Position } from './position.js'
import type { Marks, ScopeId } from './scope.js'
import { boundMarks, joinMarks, sameMarks } from './scope.js'

export interface History {
  /** Every write of the session that is not of a marked scope is included in this position: it holds back all reads. */
  readonly writes: Position
  /** Every write that touched only a scope is included in that scope's mark, or in `writes`. At most `MAX_MARKS`. */
  readonly marks?: Marks | undefined
  /** An upper bound of everything the session has seen; `zero` unless the session asks for monotonic reads. */
  readonly reads: Position
  /**
   * The session may have written something whose position is not known: an answer to COMMIT was lost, the token did not
   * fit, a known user came without a token. The next read goes to the primary, which gives a position that settles it.
   */
  readonly uncertain: boolean
}

/** A session that has done nothing: any replica may serve it. */
export const EMPTY_HISTORY: History = Object.freeze({ writes: Position.zero, reads: Position.zero, uncertain: false })

/** A session of which nothing is known, but which may have written: the primary serves it first. */
export const UNCERTAIN_HISTORY: History = Object.freeze({ writes: Position.zero, reads: Position.zero, uncertain: true })

/**
 * Commutative, associative, idempotent: the order in which carriers deliver does not matter. (Beyond `MAX_MARKS` scopes it
 * is an upper bound of both, no longer the least one: what folds into `writes` depends on what came first.)
 */
export function joinHistories(a: History, b: History): History {
  if (a === b) return a
  const writes = a.writes.join(b.writes)
  const reads = a.reads.join(b.reads)
  const uncertain = a.uncertain || b.uncertain
  if (a.marks === undefined && b.marks === undefined) return { writes, reads, uncertain }
  return { ...boundMarks(writes, joinMarks(a.marks, b.marks)), reads, uncertain }
}

export function sameHistory(a: History, b: History): boolean {
  return (
    a === b ||
    (a.uncertain === b.uncertain &&
      a.writes.compare(b.writes) === 'equal' &&
      a.reads.compare(b.reads) === 'equal' &&
      sameMarks(a.marks, b.marks))
  )
}

/** Whether `a` holds back every read that `b` does, as far as positions go: whoever has `a` needs no `b`. Doubts aside. */
export function includesHistory(a: History, b: History): boolean {
  if (!a.writes.includes(b.writes) || !a.reads.includes(b.reads)) return false
  if (b.marks === undefined) return true
  for (const [scope, mark] of b.marks) {
    if (!a.writes.join(a.marks?.get(scope) ?? Position.zero).includes(mark)) return false
  }
  return true
}

/**
 * Whether a position of `history` is hidden in `other`, which says "somewhere in this history" of it. That is more, and holds back
 * more, while it lasts. But it ends: the primary's answer that settles it takes its place, and that may be an older position, of a read
 * that began before the hidden one was entered, in this session or in another one that brought the same token. So whoever has `other`
 * still has to know that there was more than that read was sure to see.
 */
export function isHidden(history: History, other: History): boolean {
  return isWithinOpen(allWrites(history), other.writes) || isWithinOpen(history.reads, other.reads)
}

function isWithinOpen({ entries }: Position, other: Position): boolean {
  return entries.some(({ lineage, offset }) => offset !== MAX_OFFSET && other.offsetIn(lineage) === MAX_OFFSET)
}

/** Everything the session wrote, whatever its scope. */
export function allWrites({ writes, marks }: History): Position {
  let all = writes
  if (marks !== undefined) for (const mark of marks.values()) all = all.join(mark)
  return all
}

/**
 * What a read of these scopes must see. A write of another scope does not hold it back; a read without a scope
 * (`undefined`) is held back by all.
 */
export function neededBy(history: History, guarantee: Guarantee, scopes: readonly ScopeId[] | undefined): Position {
  let needed = scopes === undefined ? allWrites(history) : history.writes
  if (scopes !== undefined && history.marks !== undefined) {
    for (const scope of scopes) {
      const mark = history.marks.get(scope)
      if (mark !== undefined) needed = needed.join(mark)
    }
  }
  return guarantee === 'monotonic-reads' ? needed.join(history.reads) : needed
}

/** The history with every position replaced; `change` must not take anything away that is not meant to go. */
export function mapHistory(history: History, change: (position: Position) => Position): History {
  const writes = change(history.writes)
  const reads = change(history.reads)
  const { uncertain, marks } = history
  if (marks === undefined) return { writes, reads, uncertain }
  return { ...boundMarks(writes, new Map([...marks].map(([scope, mark]) => [scope, change(mark)]))), reads, uncertain }
}

/** Whether some position of the history is of a lineage for which `test` holds. */
export function someLineage({ writes, marks, reads }: History, test: (lineage: string) => boolean): boolean {
  const has = (position: Position) => position.entries.some(entry => test(entry.lineage))
  if (has(writes) || has(reads)) return true
  if (marks !== undefined) for (const mark of marks.values()) if (has(mark)) return true
  return false
}
