/**
 * Runs writes, and whatever else has to run on the primary: the order of events that keeps a write from being taken for not
 * committed, or for committed where it is not.
 */
import { bounded } from '../bounded.js'
import type { Cluster } from '../cluster.js'
import { isLater } from '../engine.js'
import { publish } from '../events.js'
import { type Fence, isLeftMeanwhile, NO_FENCE } from '../fence.js'
import type { Node } from '../node.js'
import type { Outcome } from '../outcome.js'
import { Position } from '../position.js'
import type { ScopeId } from '../scope.js'
import type { LastWrite, Session } from '../session.js'
import type { Turn } from '../session-cache.js'
import { settleTold } from '../settle-by-heads.js'
import { untilAborted } from '../until-aborted.js'
import type { WritePolicy } from '../write-policy.js'
import { acknowledge, throwUnreached } from './acknowledgement.js'
import type { EngineNode, Lease } from './engine.js'
import { type ExecutionContext, type NodeLease, policyOf, type Scope } from './execution-context.js'
import type { Fences } from './fences.js'
import { NoPrimaryError } from './no-primary-error.js'
import { noteError } from './node-errors.js'
import { keepWritten, type OwnValue } from './own-values.js'
import { LOCATE_TIMEOUT_MS, positionOfWriter } from './position-of-writer.js'
import type { PrimaryAccess } from './primary-access.js'
import { readFloor } from './read-form.js'

export interface WriteOptions<R> {
  /** Ends waiting, before anything is sent and after. What has been sent is the sender's to end. */
  readonly signal?: AbortSignal | undefined
  /** Overrides the database's write policy. */
  readonly writePolicy?: WritePolicy | undefined
  /** What is written, and nothing else. Default: everything. */
  readonly scopes?: readonly ScopeId[] | undefined
  /** A read that only the primary may serve: it is fenced as a read and has an outcome. Default false. */
  readonly isRead?: boolean
  /** Something may be written, to be acknowledged by the policy. Default: unless it is a read. */
  readonly mayWrite?: boolean
  /** How often it was moved before it came here. Default 0. */
  readonly reroutes?: number
  /** What it returns is the author's own value from here on. For sessions only. */
  readonly own?: OwnValue<R> | undefined
}

export interface WritePlan {
  /** Whether the position is to be asked for: behind the write, after its commit, on the same connection (rule 2). */
  readonly capture: boolean
  /** What holds the acknowledgement, for an engine whose servers can wait for replicas themselves. */
  readonly policy: WritePolicy | undefined
}

/** What became of what was sent. */
export interface Sent<R> {
  readonly result?: R | undefined
  /** What it failed with; also when the answer was lost, on either side of the commit. */
  readonly error?: unknown
  /** Includes the write, if it was committed; `undefined` when it is not known, which leaves the session uncertain. */
  readonly captured: Position | undefined
  /** Gives the lease back, and returns (or resolves to) what the caller is to be told went wrong. Never throws. */
  release(): unknown
}

/** How a commit was sent, and whether it was acknowledged. */
export interface SentCommit {
  readonly node: Node
  /** On this router's clock. */
  readonly sentAt: number
  /** The history that the server wrote, or of a peer its own log; `undefined` when not known. */
  readonly lineage: string | undefined
  readonly acknowledged: boolean
}

/** Sends what has to run on the primary, once. The lease stays in use until `Sent.release`. */
export type SendWrite<L extends Lease, R> = (lease: L, node: Node, plan: WritePlan) => Promise<Sent<R>>

export class Writes<L extends Lease, N extends EngineNode<L>> {
  readonly #context: ExecutionContext<L, N>
  readonly #fences: Fences<L, N>
  readonly #primary: PrimaryAccess<L, N>

  constructor(context: ExecutionContext<L, N>, fences: Fences<L, N>, primary: PrimaryAccess<L, N>) {
    this.#context = context
    this.#fences = fences
    this.#primary = primary
  }

  async write<R>(scope: Scope, options: WriteOptions<R>, send: SendWrite<L, R>): Promise<R> {
    const { signal, isRead = false, mayWrite = !isRead } = options
    signal?.throwIfAborted()
    const { caches, clock, cluster, judge } = this.#context
    const session = typeof scope === 'object' ? scope : undefined
    const fence =
      session !== undefined && isRead
        ? await untilAborted(Promise.resolve(this.#fences.of(session, undefined, signal)), signal)
        : NO_FENCE
    const hearing = session === undefined || isRead ? undefined : judge.hear(session)
    if (hearing !== undefined) await untilAborted(hearing, signal)
    const policy = mayWrite ? policyOf(options.writePolicy, this.#context) : undefined
    const { lease, node } = this.#primary.take(fence) ?? (await this.#acquire(isRead, fence, signal, session))
    // Of an older history than what the session has written: it is not the primary any more, and has not got it.
    if (fence.kind === 'at' && isLater(fence.lineage, cluster.lineage)) {
      lease.release()
      throw this.#refused(new NoPrimaryError(cluster.nodes), session)
    }
    const doubts = session?.doubts ?? 0
    const { own } = options
    const turn = own !== undefined && session !== undefined && !isRead ? caches.begin(session.author, own.key) : undefined
    const sentAt = clock.now()
    const { floor, staleMs } = readFrom(node, cluster, sentAt)
    node.inFlight++
    const asked = session !== undefined || policy !== undefined
    let sent: Sent<R>
    try {
      sent = await send(lease, node, { capture: asked, policy })
    } catch (cause) {
      sent = lost(cause, lease)
    }
    node.inFlight--
    const { captured, error } = sent
    if (error !== undefined) noteError(error, node, false, this.#context)
    else if (isRead) this.#noteRead(session, node, fence, options.reroutes ?? 0, doubts, captured, staleMs)
    session?.readFrom(floor, staleMs)
    const alone = turn === undefined || caches.isAlone(turn)
    const commit = { node, sentAt, lineage: lease.writes, acknowledged: mayWrite && error === undefined }
    const stored = asked ? this.entered(session, captured, options.scopes, commit) : undefined
    if (turn !== undefined && own !== undefined) this.#keep(turn, own, alone ? sent.result : undefined, captured)
    // Whoever waits for others to have the write, or for a store, holds no connection meanwhile.
    const shown = await sent.release()
    if (stored !== undefined) await stored
    if (shown !== undefined) throw shown
    const held = mayWrite ? this.acknowledged(session === undefined ? [] : [session], captured, policy, signal) : undefined
    if (held !== undefined) await held
    return sent.result!
  }

  /**
   * Enters a captured commit into its session and tells the rest of the router. Without a position (the answer was lost, on
   * either side of the commit) the session becomes uncertain: the write is never taken for not committed, nor for committed at
   * a position that was guessed. When a promise comes back, the write must not be acknowledged before it has settled. Never throws.
   */
  entered(
    session: Session | undefined,
    position: Position | undefined,
    scopes: readonly ScopeId[] | undefined,
    { node, sentAt, lineage, acknowledged }: SentCommit,
  ): Promise<void> | undefined {
    const { caches, cluster, monitor } = this.#context
    if (position !== undefined) {
      const entry = position.entries[0]!
      cluster.primaryAt(entry.lineage, entry.offset, sentAt)
      monitor.nudge()
    }
    // The position of what only read, or failed, is entered all the same, since it may have written more than it says.
    if (position === undefined || acknowledged) {
      publish('tidemark:write', () => ({ db: cluster.name, node: node.id, position: position?.toString() }))
    }
    if (session === undefined) return undefined
    caches.wrote(session.author, position)
    if (position !== undefined) return session.wrote(position, scopes)
    // Where there is no primary, every peer is asked before the doubt is settled, whoever it was sent to.
    session.doubt(acknowledged || cluster.logs === undefined ? lineage : undefined, acknowledged)
    return acknowledged && lineage !== undefined && session.isStored ? this.#askAgain(session, node, lineage) : undefined
  }

  /**
   * The commit was acknowledged, and the answer to the question for its position was lost: the connection broke between the two, or
   * the caller gave up there and is told all the same that it is done. The doubt is the session's, and the next token carries it. The
   * store cannot: it keeps positions, and what it knows of the user is too old now, which on the user's other devices looks like
   * knowledge. So the server is asked once more, before the acknowledgement: where it writes that same history *now* includes all
   * that it had acknowledged in it. Within a bound; what comes later is stored later, and until then (or when the server has
   * gone) only this session knows. Never rejects.
   */
  async #askAgain(session: Session, node: Node, lineage: string): Promise<void> {
    const { clock, nodes } = this.#context
    await bounded(clock, LOCATE_TIMEOUT_MS, async () => {
      const target = nodes.get(node)!
      const lease = await target.acquired()
      const position = await positionOfWriter(lease, target, clock)
      if (position?.offsetIn(lineage) !== undefined) await session.wrote(position)
    })
  }

  /**
   * Holds a committed write until its policy is reached; at once when there is none. Rejects with `NotAppliedError` when that is
   * asked for.
   */
  acknowledged(
    sessions: Iterable<Session>,
    position: Position | undefined,
    policy: WritePolicy | undefined,
    signal: AbortSignal | undefined,
  ): Promise<void> | undefined {
    const note = (write: LastWrite) => {
      for (const session of sessions) session.lastWrite = write
    }
    if (policy !== undefined) {
      return acknowledge(policy, position, this.#context, signal).then(write => {
        note(write)
        throwUnreached(policy, write)
      })
    }
    note({ position: position?.toString(), policy: undefined, acknowledged: position !== undefined, waitedMs: 0 })
    return undefined
  }

  #acquire(isRead: boolean, fence: Fence, signal: AbortSignal | undefined, session: Session | undefined): Promise<NodeLease<L>> {
    return this.#primary.acquire(signal, undefined, fence).catch(error => {
      throw isRead && error instanceof NoPrimaryError ? this.#refused(error, session) : error
    })
  }

  /** A read that finds no primary is told of as one that no rung serves. */
  #refused(error: NoPrimaryError, session: Session | undefined): NoPrimaryError {
    if (session?.quiet !== true)
      publish('tidemark:refused', () => ({ db: this.#context.cluster.name, code: error.code, waitedMs: 0 }))
    return error
  }

  #keep<R>(turn: Turn, own: OwnValue<R>, result: R | undefined, position: Position | undefined): void {
    keepWritten(turn, result === undefined ? undefined : own.rowsOf(result), position, this.#context)
  }

  /** A read that only the primary could serve has an outcome too, and settles its session as one by the ladder does. */
  #noteRead(
    session: Session | undefined,
    node: Node,
    fence: Fence,
    reroutes: number,
    doubts: number,
    position: Position | undefined,
    staleMs: number | undefined,
  ): void {
    const possiblyLost = fence.kind === 'possibly-lost' || isLeftMeanwhile(fence, this.#context.cluster)
    if (this.#context.cluster.logs !== undefined) session && settleTold(session, fence, doubts)
    else if ((possiblyLost || fence.kind === 'primary') && position !== undefined)
      session?.settle(position, doubts, fence.kind === 'possibly-lost' ? fence.position : undefined)
    const outcome: Outcome = {
      node: node.id,
      rung: 'primary',
      fallback: reroutes > 0 ? 'needs-primary' : undefined,
      wait: undefined,
      waitedMs: 0,
      guarantee: possiblyLost || session === undefined ? 'eventual' : session.guarantee,
      possiblyLost,
      stalenessMs: staleMs,
      reroutes,
    }
    if (session !== undefined) session.lastOutcome = outcome
    if (session?.quiet !== true) publish('tidemark:read', () => ({ db: this.#context.cluster.name, ...outcome }))
  }
}

/** What a read that is sent now will show at least. The primary has everything; a peer, what it has applied. */
function readFrom(node: Node, cluster: Cluster, now: number) {
  if (cluster.logs === undefined) return { floor: Position.zero, staleMs: 0 }
  return { floor: readFloor(node, cluster), staleMs: cluster.stalenessMs(node, now) }
}

/** A sender that throws has lost the answer, if it sent anything: nothing is known of what the server did. */
function lost(error: unknown, lease: Lease): Sent<never> {
  return {
    error,
    captured: undefined,
    release() {
      lease.release(true)
      return error
    },
  }
}
