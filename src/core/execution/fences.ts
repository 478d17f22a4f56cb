/** The fences of sessions' reads, as judged against the history that the cluster writes now (rule 4). */
import { publish } from '../events.js'
import { type Fence, fenceOf, isPositionFence, keptOf } from '../fence.js'
import { LostWriteError } from '../lost-write-error.js'
import type { Position } from '../position.js'
import type { ScopeId } from '../scope.js'
import type { Session } from '../session.js'
import { settleTold } from '../settle-by-heads.js'
import type { EngineNode, Lease } from './engine.js'
import type { ExecutionContext } from './execution-context.js'
import { positionOfWriter } from './position-of-writer.js'
import type { PrimaryAccess } from './primary-access.js'

export class Fences<L extends Lease, N extends EngineNode<L>> {
  readonly #context: ExecutionContext<L, N>
  readonly #primary: PrimaryAccess<L, N>

  constructor(context: ExecutionContext<L, N>, primary: PrimaryAccess<L, N>) {
    this.#context = context
    this.#primary = primary
  }

  /**
   * The fence of a session's read, judged against the present history; at once when there is nothing to wait for, which is
   * the rule. Throws {@link LostWriteError} when that is asked for. `signal`: whoever gave up hears nothing, so lets go of nothing.
   */
  of(session: Session, scopes: readonly ScopeId[] | undefined, signal: AbortSignal | undefined): Fence | Promise<Fence> {
    const { judge } = this.#context
    const { arriving } = session
    if (arriving !== undefined) return arriving.then(() => this.of(session, scopes, signal))
    // Once: what cannot be judged then is not waited for again.
    const judging = judge.prepare(session)
    const fenceNow = () => this.#fenceNow(session, scopes, signal)
    return judging === undefined ? fenceNow() : judging.then(fenceNow)
  }

  /** Whether positions of the present history say all that the session's reads must see. Never rejects. */
  async isCertain(session: Session): Promise<boolean> {
    const { cluster, judge } = this.#context
    await judge.prepare(session)
    const fence = fenceOf(session.history, session.guarantee, cluster)
    return fence.kind === 'none' || isPositionFence(fence)
  }

  /** See {@link keptOf}; judged when as much is known as can be. Never rejects. */
  async keptOf(position: Position): Promise<Position> {
    const { cluster, judge } = this.#context
    await judge.prepareFor(position)
    return keptOf(position, cluster)
  }

  #fenceNow(session: Session, scopes: readonly ScopeId[] | undefined, signal: AbortSignal | undefined): Fence | Promise<Fence> {
    const { cluster, lostWrites } = this.#context
    const fence = fenceOf(session.history, session.guarantee, cluster, scopes)
    if (fence.kind !== 'possibly-lost') return fence
    this.#tellLoss(fence)
    return lostWrites === 'reissue' ? fence : this.#failLost(session, fence, signal)
  }

  /**
   * Settles the session by the primary's position, as a read would have, so that the loss is told once; then throws. When
   * the primary cannot be asked the session only lets go of the write, and what its token store keeps tells again.
   */
  async #failLost(
    session: Session,
    fence: Extract<Fence, { readonly kind: 'possibly-lost' }>,
    signal: AbortSignal | undefined,
  ): Promise<never> {
    const { cluster } = this.#context
    const { position, verdict } = fence
    const { doubts } = session
    signal?.throwIfAborted()
    if (cluster.logs !== undefined) settleTold(session, fence, doubts)
    else {
      const settled = await this.#primaryPosition().catch(() => undefined)
      signal?.throwIfAborted()
      if (settled === undefined) session.letGo(position)
      else session.settle(settled, doubts, position)
    }
    const { lineage, offset } = position.entries[0] ?? {}
    const known = lineage === undefined || offset === undefined ? undefined : cluster.ancestor(lineage)
    const error = new LostWriteError(verdict, position.toString(), cluster.lineage, known?.includedUpTo)
    if (!session.quiet) publish('tidemark:refused', () => ({ db: cluster.name, code: error.code, waitedMs: 0 }))
    throw error
  }

  /** Where the primary is now; `undefined` when it does not say, or is none any more. */
  async #primaryPosition(): Promise<Position | undefined> {
    const { clock, nodes } = this.#context
    const { lease, node } = await this.#primary.acquire()
    return positionOfWriter(lease, nodes.get(node)!, clock)
  }

  #tellLoss({ position, verdict }: Extract<Fence, { readonly kind: 'possibly-lost' }>): void {
    const { lineage, name } = this.#context.cluster
    publish('tidemark:possibly-lost', () => ({ db: name, position: position.toString(), verdict, lineage }))
  }
}
