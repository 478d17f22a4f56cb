/**
 * A session's causal history: what its author wrote, what it has read, and whether something is in doubt.
 * This is what a token carries and what fences are made from.
 */
import { Position } from './position.js'

export interface History {
  /** Every write of the session is included in this position. */
  readonly writes: Position
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

/** Commutative, associative, idempotent: the order in which carriers deliver does not matter. */
export function joinHistories(a: History, b: History): History {
  if (a === b) return a
  return { writes: a.writes.join(b.writes), reads: a.reads.join(b.reads), uncertain: a.uncertain || b.uncertain }
}

export function sameHistory(a: History, b: History): boolean {
  return (
    a === b || (a.uncertain === b.uncertain && a.writes.compare(b.writes) === 'equal' && a.reads.compare(b.reads) === 'equal')
  )
}
