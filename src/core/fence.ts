import type { Cluster } from './cluster.js'
import type { History } from './history.js'
import type { Guarantee } from './outcome.js'
import type { Position } from './position.js'

/**
 * The requirement "at least this position" put on one read, in the terms of the cluster's present history.
 *
 * - `none`: any healthy node will do.
 * - `at`: a node that has applied `offset` of `lineage`.
 * - `primary`: no position proves anything (the session is uncertain), only the primary will do.
 * - `possibly-lost`: the session's position belongs to a history that, as far as is known, the cluster does not continue
 *   (rule 4: offsets of different histories are never compared as numbers). Only the primary may answer, and the outcome
 *   says that the write may be lost.
 */
export type Fence =
  | { readonly kind: 'none' }
  | { readonly kind: 'at'; readonly lineage: string; readonly offset: bigint }
  | { readonly kind: 'primary' }
  | { readonly kind: 'possibly-lost'; readonly position: Position }

export const NO_FENCE: Fence = Object.freeze({ kind: 'none' })
const PRIMARY_FENCE: Fence = Object.freeze({ kind: 'primary' })

/** The fence of a session's next read. */
export function fenceOf(history: History, guarantee: Guarantee, cluster: Cluster): Fence {
  const needed = guarantee === 'monotonic-reads' ? history.writes.join(history.reads) : history.writes
  const first = needed.entries[0]
  // First, also for an uncertain session: what the primary's answer then settles must have been reported.
  if (needed.entries.length > 1 || (first !== undefined && isCutOff(first.lineage, cluster))) {
    return { kind: 'possibly-lost', position: needed }
  }
  if (history.uncertain) return PRIMARY_FENCE
  if (first === undefined) return NO_FENCE
  return { kind: 'at', lineage: first.lineage, offset: first.offset }
}

/** Whether the cluster, as far as is known, does not continue `lineage`. While no primary has been seen, it is the only one there is. */
export function isCutOff(lineage: string, cluster: Cluster): boolean {
  return cluster.lineage !== undefined && lineage !== cluster.lineage
}
