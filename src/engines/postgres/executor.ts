/**
 * Runs single statements: a read wherever the router says, anything else on the primary with its position captured.
 */
import type pg from 'pg'
import { isLater } from '../../core/engine.js'
import { publish } from '../../core/events.js'
import { type Fence, isLeftMeanwhile, NO_FENCE } from '../../core/fence.js'
import type { Gather, Rung } from '../../core/ladder.js'
import type { Node } from '../../core/node.js'
import type { Outcome } from '../../core/outcome.js'
import { Position } from '../../core/position.js'
import { Reroute, type Served } from '../../core/router.js'
import { type ScopeId, scopeIds } from '../../core/scope.js'
import type { Session } from '../../core/session.js'
import type { CacheEntry } from '../../core/session-cache.js'
import type { WritePolicy } from '../../core/write-policy.js'
import { acknowledge, throwUnreached } from './acknowledgement.js'
import { type Captured, capturedPosition, enterWrite, sendStatement } from './capture.js'
import type { Classified } from './classifier.js'
import type { Lease } from './connections.js'
import type { Answer, QueryInput } from './driver.js'
import { rerouteReasonOf } from './driver-errors.js'
import {
  type ExecutorContext,
  NoPrimaryError,
  type PrimaryLease,
  policyOf,
  type QueryOptions,
  type RouteOptions,
  type Scope,
} from './executor-context.js'
import { Fences } from './fences.js'
import { gatherFreshest } from './gather.js'
import { finished, Interrupt } from './interrupt.js'
import { keepWritten, readOwn, resultOf } from './own-values.js'
import { sendRead } from './read.js'
import { StatementTimes } from './read-lanes.js'
import { ReadsInFlight } from './reads-in-flight.js'
import { sendDurably } from './remote-apply.js'
import { stillServes } from './still-serves.js'

/** A statement that was taken for a read must run on the primary, as a write. */
class NoRead {
  readonly reroutes: number
  constructor(reroutes: number) {
    this.reroutes = reroutes
  }
}

export class Executor {
  readonly context: ExecutorContext
  readonly fences: Fences
  readonly #times = new StatementTimes()
  readonly #inFlight: ReadsInFlight

  constructor(context: ExecutorContext) {
    this.context = context
    this.fences = new Fences(context, () => this.acquirePrimary())
    this.#inFlight = new ReadsInFlight(context.cluster, (node, lease) => context.nodes.get(node)!.cut(lease))
  }

  classify(text: string | undefined, options?: QueryOptions): Classified {
    const classified = this.context.classifier.classify(text)
    if (options?.on === undefined || (options.on === 'replica') === classified.standby) return classified
    const standby = options.on === 'replica'
    return { ...classified, standby, forced: standby }
  }

  /** Runs one statement outside any transaction of the caller's. */
  run(
    scope: Scope,
    input: QueryInput,
    values: readonly unknown[] | undefined,
    options: QueryOptions = NO_OPTIONS,
  ): Promise<pg.QueryResult> {
    const text = typeof input === 'string' ? input : input.text
    const classified = this.classify(text, options)
    if (scope === 'primary' || !classified.standby) return this.#onPrimary(scope, input, values, classified, options)
    const read = (cached?: CacheEntry) => this.#read(scope, input, values, classified, options, cached)
    const result =
      options.cache !== undefined && scope !== 'eventual'
        ? readOwn(scope, options.cache, this.scopesOf(classified, options), this.context, read, options.signal)
        : read().then(served => served.result)
    return result.catch((error: unknown) => {
      // It is no read after all: it leaves the ladder and runs once, as a write, with its position captured.
      if (error instanceof NoRead) return this.#onPrimary(scope, input, values, classified, options, error.reroutes)
      throw error
    })
  }

  /**
   * What a statement touches, as far as its author or its tables say; `undefined` is everything.
   *
   * Where tables are scopes, a scope that its author gave is one *within* its tables. Two such scopes are told apart; but a
   * statement whose author gave none may touch any of them, so the two kinds must meet: of a table T, a write with a scope
   * marks "T, in part", which only reads without a scope need; a write without one marks T, which all reads need.
   */
  scopesOf({ scopes, statement }: Classified, { scope }: QueryOptions): readonly ScopeId[] | undefined {
    const own = scopeIds(scope)
    if (!this.context.tableScopes) return own
    if (scopes === undefined || scopes.length === 0) return undefined
    const inPart = scopes.map(table => `${table} in part`)
    if (statement.kind === 'read') return own === undefined ? scopeIds([...scopes, ...inPart]) : [...own, ...scopeIds(scopes)!]
    return own === undefined ? scopeIds(scopes) : [...own, ...scopeIds(inPart)!]
  }

  /** Chooses a node for a read and runs `attempt` on a lease of it; `attempt` owns the lease and releases it. */
  async route<R>(
    scope: Session | 'eventual',
    options: QueryOptions,
    attempt: (lease: Lease, node: Node, fence: Fence) => Promise<R>,
    { quick = false, scopes, cached, fromCache }: RouteOptions<R> = {},
  ): Promise<Served<R>> {
    const session = scope === 'eventual' ? undefined : scope
    const { router, ladder } = this.context
    const judged = session === undefined ? NO_FENCE : this.fences.of(session, scopes)
    const fence = judged instanceof Promise ? await judged : judged
    const { signal } = options
    const request = {
      fence,
      ladder: options.ladder ?? session?.ladder ?? ladder,
      guarantee: session?.guarantee,
      signal,
      cached,
    }
    const served = await router.read(request, {
      onNode: (node, rung) => this.#attempt(node, rung, fence, attempt, quick, signal),
      gather: (step, rung) => this.#gather(step, rung, fence, attempt, signal),
      ...(fromCache && { fromCache }),
    })
    if (session !== undefined) session.lastOutcome = served.outcome
    return served
  }

  /** A lease of the primary, for a session if there is one. Rejects with the driver's error, or {@link NoPrimaryError}. */
  async acquirePrimary(signal?: AbortSignal, session?: Session): Promise<PrimaryLease> {
    const { cluster, nodes, monitor, judge } = this.context
    if (session !== undefined) await judge.hear(session)
    // Nothing has been sent yet, so looking again when a connection finds itself elsewhere repeats no write.
    for (let tries = 0; tries < 3; tries++) {
      const atHand = this.#takePrimary()
      if (atHand !== undefined) return atHand
      const node = cluster.primary ?? this.#declaredPrimary()
      if (node === undefined) break
      const lease = await nodes
        .get(node)!
        .acquired(false, signal)
        .catch(error => {
          if (!signal?.aborted) this.#note(error, node, true)
          throw error
        })
      if (this.#writesHere(lease, node)) return { lease, node }
      lease.release()
    }
    monitor.nudge()
    throw new NoPrimaryError(cluster.nodes)
  }

  /** A lease of the primary if a connection is at hand. */
  #takePrimary(): PrimaryLease | undefined {
    const node = this.context.cluster.primary
    const lease = node && this.context.nodes.get(node)!.take(false)
    if (node === undefined || lease === undefined) return undefined
    if (this.#writesHere(lease, node)) return { lease, node }
    lease.release()
    return undefined
  }

  #writesHere(lease: Lease, node: Node): boolean {
    const { cluster } = this.context
    return node === cluster.primary && lease.writes !== undefined && lease.writes === cluster.lineage
  }

  /** Enters a captured commit into its session and tells the rest of the router. Never throws. */
  entered(
    session: Session | undefined,
    position: Position | undefined,
    node: Node,
    sentAt: number,
    scopes: readonly ScopeId[] | undefined,
    acknowledgedIn: string | undefined,
  ): Promise<void> | undefined {
    if (position !== undefined) {
      const entry = position.entries[0]!
      this.context.cluster.primaryAt(entry.lineage, entry.offset, sentAt)
      this.context.monitor.nudge()
    }
    publish('tidemark:write', () => ({ node: node.id, position: position?.toString() }))
    if (session !== undefined) this.context.caches.wrote(session.author, position)
    return session && enterWrite(session, position, scopes, acknowledgedIn)
  }

  /** Holds a committed write until its policy is reached. Throws `NotAppliedError` when that is asked for. */
  async acknowledged(
    sessions: Iterable<Session>,
    position: Position | undefined,
    policy: WritePolicy | undefined,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { cluster, router, monitor, clock } = this.context
    const write = await acknowledge(policy, position, { cluster, waitingRoom: router.waitingRoom, monitor, clock }, signal)
    for (const session of sessions) session.lastWrite = write
    throwUnreached(policy, write)
  }

  /**
   * A lower bound of what a read that is sent to `node` now will show; `undefined` when nothing is proven.
   *
   * On a standby the applied position is one: redo makes a commit visible before it advances. On the primary there is none but
   * zero: a commit's record is in the log before the commit is visible, for as long as it waits for its flush or for standbys.
   */
  readFloor(node: Node): Position | undefined {
    if (node === this.context.cluster.primary) return Position.zero
    if (node.balanced || node.lineage === undefined || node.applied === undefined) return undefined
    return Position.at(node.lineage, node.applied)
  }

  /** Reads from the freshest of several nodes, on the connection that said where it is. */
  async #gather<R>(
    step: Gather,
    rung: Rung,
    fence: Fence,
    attempt: (lease: Lease, node: Node, fence: Fence) => Promise<R>,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly result: R; readonly node: Node }> {
    // Said to be partial, it serves what it finds, and the outcome says so.
    const required = rung.fenced ? fence : NO_FENCE
    const { node, lease } = await gatherFreshest(step, required, { ...this.context, signal })
    node.inFlight++
    try {
      return { result: await attempt(lease, node, required), node }
    } finally {
      node.inFlight--
    }
  }

  async #attempt<R>(
    node: Node,
    rung: Rung,
    fence: Fence,
    attempt: (lease: Lease, node: Node, fence: Fence) => Promise<R>,
    quick: boolean,
    signal: AbortSignal | undefined,
  ): Promise<R> {
    let lease: Lease
    try {
      const target = this.context.nodes.get(node)!
      lease = target.take(quick) ?? (await target.acquired(quick, signal))
    } catch (error) {
      throw signal?.aborted ? error : this.#rerouted(error, node, true)
    }
    // The picture may have changed while a connection was waited for: by this read's own check of a new connection, or by
    // another read's, which then left a connection of the node's new life in the pool.
    if (!stillServes(this.context.cluster, node, lease, rung, fence)) {
      lease.release()
      throw new Reroute('new-incarnation')
    }
    return attempt(lease, node, fence)
  }

  #read(
    scope: Session | 'eventual',
    input: QueryInput,
    values: readonly unknown[] | undefined,
    classified: Classified,
    options: QueryOptions,
    cached?: CacheEntry,
  ): Promise<Served<pg.QueryResult>> {
    const text = typeof input === 'string' ? input : input.text
    const session = scope === 'eventual' ? undefined : scope
    const plain = text !== undefined && options.signal === undefined && session?.guarantee !== 'monotonic-reads'
    const quick = plain && this.#times.isQuick(text)
    const { clock } = this.context
    const read = async (lease: Lease, node: Node, fence: Fence) => {
      if (classified.forced && node === this.context.cluster.primary) {
        lease.release()
        throw new NoRead(0)
      }
      const sentAt = clock.now()
      const floor = session && this.readFloor(node)
      const staleMs = session && this.context.cluster.stalenessMs(node, sentAt)
      const release = this.#inFlight.enter(node, lease)
      const interrupt = Interrupt.of(options.signal, lease, this.context.nodes.get(node)!)
      try {
        const result = await sendRead(lease, { input, values, fence, session, balanced: node.balanced, interrupt })
        session?.readFrom(floor, staleMs)
        return result
      } catch (error) {
        const rerouted = error instanceof Reroute ? error : this.#rerouted(error, node, false)
        if (!(rerouted instanceof Reroute) || rerouted.reason !== 'needs-primary') throw rerouted
        if (text !== undefined) this.context.classifier.rememberPrimary(text)
        publish('tidemark:reroute', () => ({ node: node.id, reason: rerouted.reason, cause: rerouted.cause }))
        throw new NoRead(1)
      } finally {
        release()
        if (plain) this.#times.note(text, lease.tookMs?.() ?? clock.now() - sentAt)
      }
    }
    return this.route(scope, options, read, {
      quick,
      scopes: this.scopesOf(classified, options),
      cached,
      fromCache: resultOf,
    })
  }

  async #onPrimary(
    scope: Scope,
    input: QueryInput,
    values: readonly unknown[] | undefined,
    classified: Classified,
    options: QueryOptions,
    reroutes = 0,
  ): Promise<pg.QueryResult> {
    options.signal?.throwIfAborted()
    const { caches, classifier, clock, cluster, judge, nodes, warn } = this.context
    const { statement } = classified
    const isRead = statement.kind === 'read'
    const session = typeof scope === 'object' ? scope : undefined
    const fence = session === undefined ? NO_FENCE : isRead ? await this.fences.of(session, undefined) : NO_FENCE
    const hearing = session === undefined || isRead ? undefined : judge.hear(session)
    if (hearing !== undefined) await hearing
    // A function that may write makes a SELECT a write; so does a standby that has refused it.
    const mayWrite = !isRead || classified.onlyReads !== true || reroutes > 0
    const policy = mayWrite ? policyOf(options, this.context) : undefined
    const { lease, node } = this.#takePrimary() ?? (await this.acquirePrimary(options.signal))
    // Of an older history than what the session has written: it is not the primary any more, and has not got it.
    if (fence.kind === 'at' && isLater(fence.lineage, cluster.lineage)) {
      lease.release()
      throw new NoPrimaryError(cluster.nodes)
    }
    const doubts = session?.doubts ?? 0
    const interrupt = Interrupt.of(options.signal, lease, nodes.get(node)!)
    const caching = options.cache !== undefined && session !== undefined && !isRead
    const turn = caching ? caches.begin(session.author, options.cache) : undefined
    const sentAt = clock.now()
    node.inFlight++
    const { answer, captured } = await this.#send(lease, node, input, values, session !== undefined, policy)
    node.inFlight--
    if (statement.changesCatalog) classifier.invalidate()
    const position = capturedPosition(captured, lease)
    if (answer.error !== undefined) this.#note(answer.error, node, false)
    else if (isRead) this.#noteRead(session, node, fence, reroutes, doubts, position)
    session?.readFrom(Position.zero, 0)
    const asked = session !== undefined || policy !== undefined
    // What a standby refused was said to be a read: what it writes, nobody has said.
    const scopes = reroutes > 0 ? undefined : this.scopesOf(classified, options)
    const alone = turn === undefined || caches.isAlone(turn)
    const acknowledgedIn = mayWrite && answer.error === undefined ? lease.writes : undefined
    const stored = asked ? this.entered(session, position, node, sentAt, scopes, acknowledgedIn) : undefined
    if (turn !== undefined) keepWritten(turn, alone ? answer.result?.rows : undefined, position, this.context)
    // After an error the server may not have said yet in which state it leaves the connection; the text tells enough.
    const inTransaction = statement.transactionAfter === 'open' || (lease.connection.getTransactionStatus?.() ?? 'I') !== 'I'
    const unclean = inTransaction || (statement.ties && statement.kind !== 'unknown')
    if (unclean) warn(UNOWNED_STATE)
    // Whoever waits for others to have the write, or for a store, holds no connection meanwhile.
    const shown = await finished(interrupt, lease, answer.error, unclean)
    if (stored !== undefined) await stored
    if (shown !== undefined) throw shown
    if (mayWrite) await this.acknowledged(session === undefined ? [] : [session], position, policy, options.signal)
    return answer.result!
  }

  #send(
    lease: Lease,
    node: Node,
    input: QueryInput,
    values: readonly unknown[] | undefined,
    session: boolean,
    policy: WritePolicy | undefined,
  ): Promise<{ readonly answer: Answer; readonly captured?: Captured }> {
    if (policy?.remoteApply)
      return sendDurably(lease, this.context.nodes.get(node)!, input, values, policy.timeoutMs, this.context.clock)
    return sendStatement(lease, input, values, session || policy !== undefined)
  }

  /** A read that only the primary could serve has an outcome too, and settles its session as one by the ladder does. */
  #noteRead(
    session: Session | undefined,
    node: Node,
    fence: Fence,
    reroutes: number,
    doubts: number,
    position: Position | undefined,
  ): void {
    const possiblyLost = fence.kind === 'possibly-lost' || isLeftMeanwhile(fence, this.context.cluster)
    if ((possiblyLost || fence.kind === 'primary') && position !== undefined)
      session?.settle(position, doubts, fence.kind === 'possibly-lost' ? fence.position : undefined)
    const outcome: Outcome = {
      node: node.id,
      rung: 'primary',
      waitedMs: 0,
      guarantee: possiblyLost || session === undefined ? 'eventual' : session.guarantee,
      possiblyLost,
      stalenessMs: 0,
      reroutes,
    }
    if (session !== undefined) session.lastOutcome = outcome
    publish('tidemark:read', () => outcome)
  }

  /** The reroute that an error stands for, or the error itself. */
  #rerouted(error: unknown, node: Node, connecting: boolean): unknown {
    this.#note(error, node, connecting)
    const reason = rerouteReasonOf(error, node.role === 'replica')
    if (reason !== undefined) return new Reroute(reason, error)
    // Whatever kept a connection from being had, another node may do better.
    return connecting ? new Reroute('unreachable', error) : error
  }

  /** What an error says about its node. One broken connection is not a lost node; one that cannot be opened is. */
  #note(error: unknown, node: Node, connecting: boolean): void {
    if (rerouteReasonOf(error, false) !== 'unreachable') return
    if (connecting) {
      this.context.cluster.lose(node, { reason: error instanceof Error ? error.message : String(error), cause: error })
    }
    this.context.monitor.nudge()
  }

  #declaredPrimary(): Node | undefined {
    for (const [node, { spec }] of this.context.nodes) if (spec.declaredPrimary && node.role !== 'replica') return node
    return undefined
  }
}

const NO_OPTIONS: QueryOptions = Object.freeze({})

const UNOWNED_STATE =
  'a statement sent through query() left a transaction or session state behind; its connection was closed. Check a client out with pool.connect() for BEGIN, SET, LISTEN and the like.'
