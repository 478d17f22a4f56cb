import type { Verdict } from './ancestry.js'
import type { Cluster } from './cluster.js'
import { isLater } from './engine.js'
import { type History, neededBy } from './history.js'
import type { Node } from './node.js'
import type { Guarantee } from './outcome.js'
import { Position, type PositionEntry } from './position.js'
import type { ScopeId } from './scope.js'

/**
 * The requirement "at least this position" put on one read, in the terms of the cluster's present history.
 *
 * - `none`: any healthy node will do.
 * - `at`: a node that has applied `offset` of `lineage`.
 * - `vector`: a node that has applied every entry of `position`, each of another log; at least two.
 * - `primary`: no position proves anything (the session is uncertain), only the primary will do; it has the `position` that is known
 *   of the session, unless it is left meanwhile.
 * - `possibly-lost`: the cluster does not continue the history that the session's position belongs to, or not up to there,
 *   or nothing tells whether it does (rule 4: offsets of different histories are never compared as numbers). Only the
 *   primary may answer, and the outcome says that the write may be lost. In a leaderless cluster, one that has the `rest`.
 */
export type Fence =
  | { readonly kind: 'none' }
  | { readonly kind: 'at'; readonly lineage: string; readonly offset: bigint }
  | { readonly kind: 'vector'; readonly position: Position }
  | { readonly kind: 'primary'; readonly position?: Position }
  | { readonly kind: 'possibly-lost'; readonly position: Position; readonly verdict: Verdict; readonly rest?: Position }

/** A fence that positions prove. */
export type PositionFence = Extract<Fence, { readonly kind: 'at' | 'vector' }>

export const NO_FENCE: Fence = Object.freeze({ kind: 'none' })
const PRIMARY_FENCE: Fence = Object.freeze({ kind: 'primary' })

/** "At least `position`", each entry of it. */
export function fenceAt(position: Position): Fence {
  const [first, second] = position.entries
  if (first === undefined) return NO_FENCE
  return second === undefined ? { kind: 'at', lineage: first.lineage, offset: first.offset } : { kind: 'vector', position }
}

/** Whether only positions are asked for, which a node may reach. */
export function isPositionFence(fence: Fence): fence is PositionFence {
  return fence.kind === 'at' || fence.kind === 'vector'
}

/** The entries that a node must have applied, all of them. */
export function entriesOf(fence: PositionFence): readonly PositionEntry[] {
  return fence.kind === 'at' ? [fence] : fence.position.entries
}

/** Rule 1: whether positions prove that `node` has all that the fence asks for. */
export function opens(fence: Fence, node: Node): boolean {
  if (fence.kind === 'at') return node.hasApplied(fence.lineage, fence.offset)
  if (fence.kind === 'vector') return fence.position.entries.every(({ lineage, offset }) => node.hasApplied(lineage, offset))
  return fence.kind === 'none'
}

/** What a peer of a leaderless cluster must have that serves in spite of a loss: the rest. Any other fence as it is. */
export function withoutLost(fence: Fence): Fence {
  return fence.kind === 'possibly-lost' && fence.rest !== undefined ? fenceAt(fence.rest) : fence
}

/** The fence of a session's next read; of one that reads only these scopes, when given. */
export function fenceOf(history: History, guarantee: Guarantee, cluster: Cluster, scopes?: readonly ScopeId[]): Fence {
  const needed = neededBy(history, guarantee, scopes)
  if (cluster.logs !== undefined) return fenceOfVector(history, needed, cluster)
  const first = needed.entries[0]
  if (first !== undefined && (needed.entries.length > 1 || !isPresent(first.lineage, cluster))) {
    return fenceOfOlder(history, needed, cluster)
  }
  if (history.uncertain) return primaryFence(needed)
  if (first === undefined) return NO_FENCE
  return { kind: 'at', lineage: first.lineage, offset: first.offset }
}

/** Whether `lineage` is the history that the cluster writes. While no primary has been seen, it is the only one there is. */
export function isPresent(lineage: string, cluster: Cluster): boolean {
  return cluster.lineage === undefined || lineage === cluster.lineage
}

/**
 * Whether the cluster has left the fence's history while a read was under way, up to there, and nobody has judged it yet. Of
 * a leaderless cluster there is nothing to judge: who has applied an entry of a log shows it, whatever becomes of that log.
 */
export function isLeftMeanwhile(fence: Fence, cluster: Cluster): boolean {
  if (fence.kind === 'at') return isLeft(fence, cluster)
  return fence.kind === 'primary' && fence.position?.entries.some(entry => isLeft(entry, cluster)) === true
}

function isLeft({ lineage, offset }: PositionEntry, cluster: Cluster): boolean {
  if (isPresent(lineage, cluster) || isLater(lineage, cluster.lineage)) return false
  return cluster.verdict(lineage, offset) !== 'preserved'
}

/** What was written in older histories and is part of the present one, in the present one's terms; the rest as it is. */
export function translate(position: Position, cluster: Cluster): Position {
  const { lineage: present } = cluster
  if (present === undefined || position.entries.every(({ lineage }) => lineage === present)) return position
  // A promotion goes on counting where it left off, so a preserved position has the same offset in the new history.
  return Position.of(
    position.entries.map(entry =>
      cluster.verdict(entry.lineage, entry.offset) === 'preserved' ? { lineage: present, offset: entry.offset } : entry,
    ),
  )
}

/**
 * What of the position still obliges: in the terms of the present history, without what that has lost. Where there is a primary,
 * also without what nobody can tell of: the present history goes on beyond it, if it has it.
 */
export function keptOf(position: Position, cluster: Cluster): Position {
  const isKept = (entry: PositionEntry) =>
    cluster.logs === undefined
      ? isPresent(entry.lineage, cluster) || isLater(entry.lineage, cluster.lineage)
      : !isLost(entry, cluster)
  return Position.of(translate(position, cluster).entries.filter(isKept))
}

/** Whether what is at an entry is not to be had: not while it may be with somebody who cannot be asked. */
export function isLost({ lineage, offset }: PositionEntry, cluster: Cluster): boolean {
  const verdict = cluster.verdict(lineage, offset)
  return verdict === 'possibly-lost' || verdict === 'foreign'
}

/** Nothing is translated: a log is continued by nobody but its writer. See `Logs` for what is lost, and what is only not known. */
function fenceOfVector(history: History, needed: Position, cluster: Cluster): Fence {
  const lost = Position.of(needed.entries.filter(entry => isLost(entry, cluster)))
  if (lost.isZero) return history.uncertain ? PRIMARY_FENCE : fenceAt(needed)
  return { kind: 'possibly-lost', position: lost, verdict: worstVerdict(lost, cluster), rest: needed.without(lost) }
}

function primaryFence(position: Position): Fence {
  return position.isZero ? PRIMARY_FENCE : { kind: 'primary', position }
}

function fenceOfOlder(history: History, needed: Position, cluster: Cluster): Fence {
  const translated = translate(needed, cluster)
  const [first] = translated.entries
  const settled = translated.entries.length === 1 && first !== undefined
  if (settled && isPresent(first.lineage, cluster)) return history.uncertain ? primaryFence(translated) : { kind: 'at', ...first }
  // The token comes from a later history than this router has heard of. A node that shows it may serve. An older primary
  // may not: it is not the primary any more; but see `Executor`, which has every node asked again before it comes to this.
  if (settled && !history.uncertain && !cluster.primary?.usable && isLater(first.lineage, cluster.lineage)) {
    return { kind: 'at', ...first }
  }
  const lost = Position.of(translated.entries.filter(entry => cluster.lineage === undefined || entry.lineage !== cluster.lineage))
  // First, also for an uncertain session: what the primary's answer then settles must have been reported.
  return { kind: 'possibly-lost', position: lost, verdict: worstVerdict(lost, cluster) }
}

function worstVerdict(lost: Position, cluster: Cluster): Verdict {
  const verdicts = lost.entries.map(entry => cluster.verdict(entry.lineage, entry.offset))
  return SEVERITY.find(each => verdicts.includes(each)) ?? 'unknown'
}

/** What is certain is told before what is not. */
const SEVERITY: readonly Verdict[] = ['possibly-lost', 'foreign', 'unknown']
