/**
 * The read side of a quorum over several logs: which of the peers that were asked may serve.
 *
 * **The partial order.** With one log the freshest of r answers has every acknowledged write. With several, each acknowledged
 * write is with one of the r peers, but not all with the same: each may have what the others lack, and there is no freshest.
 * Whoever includes the join of all answers would do; but while every peer writes, hardly ever does one, and it would be more
 * than is needed, for the join also has what is not acknowledged yet.
 *
 * **What is needed.** An acknowledged write is with w of n peers, so with at least k = w + r - n of any r. Within one log, whoever has
 * an offset has all before it. So in each log the acknowledged writes end at or before the k-th greatest of the r offsets, and
 * the entries of that rank, one for each log, include them all. For k = 1 that is the join; the more peers are asked, the
 * less it is. It may be that nobody has it, even so: then the rung passes.
 */
import { entriesOf, type Fence, isPositionFence } from './fence.js'
import { Position } from './position.js'

export interface PeerAnswer {
  /** What the peer said, on the connection that will carry the read. */
  readonly applied: Position
}

/**
 * An answer that includes every acknowledged write, and the fence; `undefined` when there is none. `sharedBy` is the k above, from
 * 1 to the number of answers. With w + r ≤ n, which must have been said to be meant, nothing is sure and 1 is the best there is.
 */
export function freshestPeer<A extends PeerAnswer>(answers: readonly A[], fence: Fence, sharedBy: number): A | undefined {
  const asked = isPositionFence(fence) ? Position.of(entriesOf(fence)) : Position.zero
  if (answers.length === 0 || (!isPositionFence(fence) && fence.kind !== 'none')) return undefined
  const acknowledged = Position.sharedBy(
    sharedBy,
    answers.map(({ applied }) => applied),
  )
  const needed = acknowledged.join(asked)
  return answers.find(({ applied }) => applied.includes(needed))
}
