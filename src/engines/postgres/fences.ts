/** The fences of sessions' reads, as judged against the history that the cluster writes now (rule 4). */
import { publish } from '../../core/events.js'
import { type Fence, fenceOf } from '../../core/fence.js'
import { LostWriteError } from '../../core/lost-write-error.js'
import type { ScopeId } from '../../core/scope.js'
import type { Session } from '../../core/session.js'
import { capturedPosition, sendStatement } from './capture.js'
import { destroy } from './driver.js'
import type { ExecutorContext, PrimaryLease } from './executor-context.js'

/** A primary that does not answer within this time settles nothing. */
const SETTLE_TIMEOUT_MS = 1_000

export class Fences {
  readonly #context: Pick<ExecutorContext, 'clock' | 'cluster' | 'judge' | 'lostWrites'>
  readonly #acquirePrimary: () => Promise<PrimaryLease>

  constructor(context: ExecutorContext, acquirePrimary: () => Promise<PrimaryLease>) {
    this.#context = context
    this.#acquirePrimary = acquirePrimary
  }

  /**
   * The fence of a session's read, judged against the present history; at once when there is nothing to wait for, which is
   * the rule. Throws {@link LostWriteError} when that is asked for.
   */
  of(session: Session, scopes: readonly ScopeId[] | undefined): Fence | Promise<Fence> {
    const { judge } = this.#context
    const { arriving } = session
    if (arriving !== undefined) return arriving.then(() => this.of(session, scopes))
    // Once: what cannot be judged then is not waited for again.
    const judging = judge.prepare(session)
    return judging === undefined ? this.#fenceNow(session, scopes) : judging.then(() => this.#fenceNow(session, scopes))
  }

  /** Whether positions of the present history say all that the session's reads must see. Never rejects. */
  async isCertain(session: Session): Promise<boolean> {
    const { cluster, judge } = this.#context
    await judge.prepare(session)
    const { kind } = fenceOf(session.history, session.guarantee, cluster)
    return kind === 'at' || kind === 'none'
  }

  #fenceNow(session: Session, scopes: readonly ScopeId[] | undefined): Fence | Promise<Fence> {
    const { cluster, lostWrites } = this.#context
    const fence = fenceOf(session.history, session.guarantee, cluster, scopes)
    if (fence.kind !== 'possibly-lost') return fence
    this.#tellLoss(fence)
    return lostWrites === 'reissue' ? fence : this.#failLost(session, fence)
  }

  /**
   * Settles the session by the primary's position, as a read would have, so that the loss is told once; then throws. When
   * the primary cannot be asked the session only lets go of the write, and what its token store keeps tells again.
   */
  async #failLost(session: Session, { position, verdict }: Extract<Fence, { readonly kind: 'possibly-lost' }>): Promise<never> {
    const { clock, cluster } = this.#context
    const { doubts } = session
    const settled = await this.#acquirePrimary()
      .then(async ({ lease }) => {
        const cut = clock.setTimer(() => destroy(lease.connection), SETTLE_TIMEOUT_MS, { keepAlive: true })
        const { captured } = await sendStatement(lease, 'SELECT', undefined, true)
        cut.cancel()
        const now = capturedPosition(captured, lease)
        lease.release(now === undefined)
        return now
      })
      .catch(() => undefined)
    if (settled === undefined) session.letGo(position)
    else session.settle(settled, doubts, position)
    const { lineage, offset } = position.entries[0] ?? {}
    const known = lineage === undefined || offset === undefined ? undefined : cluster.ancestor(lineage)
    throw new LostWriteError(verdict, position.toString(), cluster.lineage, known?.includedUpTo)
  }

  #tellLoss({ position, verdict }: Extract<Fence, { readonly kind: 'possibly-lost' }>): void {
    const { lineage } = this.#context.cluster
    publish('tidemark:possibly-lost', () => ({ position: position.toString(), verdict, lineage }))
  }
}
