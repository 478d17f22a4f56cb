/** Everything that is sent to a cluster goes through here, whatever the engine. */
import { NO_FENCE } from '../fence.js'
import type { Position } from '../position.js'
import type { Served } from '../router.js'
import type { ScopeId } from '../scope.js'
import type { Session } from '../session.js'
import { untilAborted } from '../until-aborted.js'
import type { WritePolicy } from '../write-policy.js'
import type { EngineNode, Lease } from './engine.js'
import type { ExecutionContext, NodeLease, Scope } from './execution-context.js'
import { Fences } from './fences.js'
import { PrimaryAccess } from './primary-access.js'
import { type ReadAttempt, type ReadOptions, Reads, type RouteOptions, type SendRead } from './reads.js'
import { type SendWrite, type SentCommit, type WriteOptions, Writes } from './writes.js'

export class Executor<L extends Lease = Lease, N extends EngineNode<L> = EngineNode<L>> {
  readonly context: ExecutionContext<L, N>
  readonly #fences: Fences<L, N>
  readonly #primary: PrimaryAccess<L, N>
  readonly #reads: Reads<L, N>
  readonly #writes: Writes<L, N>

  constructor(context: ExecutionContext<L, N>) {
    this.context = context
    this.#primary = new PrimaryAccess(context)
    this.#fences = new Fences(context, this.#primary)
    this.#reads = new Reads(context, this.#fences)
    this.#writes = new Writes(context, this.#fences, this.#primary)
  }

  /**
   * One read, for a session, or for nobody in particular (`eventual`): on the node that its ladder comes to, sent by `send`.
   * Rejects with the sender's error, `NotServedError` or `NotReadyError` when no rung serves, `LostWriteError`, or the signal's reason.
   */
  read<R>(scope: Session | 'eventual', options: ReadOptions<R>, send: SendRead<L, R>): Promise<R> {
    return this.#reads.read(scope, options, send)
  }

  /**
   * One write, or whatever else has to run on the primary, sent by `send` once. Rejects with the sender's error, `NoPrimaryError`
   * (nothing was sent then), `NotAppliedError` when the write policy was not reached, or the signal's reason.
   */
  write<R>(scope: Scope, options: WriteOptions<R>, send: SendWrite<L, R>): Promise<R> {
    return this.#writes.write(scope, options, send)
  }

  /** For several reads on one connection, a transaction: chooses a node, and leaves the rest to `attempt`, which owns the lease. */
  route<R>(scope: Session | 'eventual', options: RouteOptions, attempt: ReadAttempt<L, R>): Promise<Served<R>> {
    return this.#reads.route(scope, options, attempt)
  }

  /**
   * For a transaction: a lease of the primary; of a leaderless cluster, of a peer that has what the session's reads must see, since
   * the transaction may read. Rejects with the driver's error, `NoPrimaryError`, or `LostWriteError`.
   */
  async acquirePrimary(signal?: AbortSignal, session?: Session): Promise<NodeLease<L>> {
    const fenced = session !== undefined && this.context.cluster.logs !== undefined
    const fence = fenced ? await untilAborted(Promise.resolve(this.#fences.of(session, undefined, signal)), signal) : NO_FENCE
    return this.#primary.acquire(signal, session, fence)
  }

  /** For a transaction that has ended: enters its commit. See `Writes.entered`. */
  entered(
    session: Session | undefined,
    position: Position | undefined,
    scopes: readonly ScopeId[] | undefined,
    commit: SentCommit,
  ): Promise<void> | undefined {
    return this.#writes.entered(session, position, scopes, commit)
  }

  /** For a transaction that has committed: holds its acknowledgement. See `Writes.acknowledged`. */
  acknowledged(
    sessions: Iterable<Session>,
    position: Position | undefined,
    policy: WritePolicy | undefined,
    signal: AbortSignal | undefined,
  ): Promise<void> | undefined {
    return this.#writes.acknowledged(sessions, position, policy, signal)
  }

  /** Whether positions of the present history say all that the session's reads must see. Never rejects. */
  isCertain(session: Session): Promise<boolean> {
    return this.#fences.isCertain(session)
  }

  /** What of the position still obliges in the present history. Never rejects. */
  keptOf(position: Position): Promise<Position> {
    return this.#fences.keptOf(position)
  }
}
