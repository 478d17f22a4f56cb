/**
 * A connection that a checked-out client is tied to, from the statement that tied it (BEGIN, SET, LISTEN, a cursor …)
 * until nothing does any more.
 */
import type pg from 'pg'
import { policyOf } from '../../../core/execution/execution-context.js'
import { keepWritten } from '../../../core/execution/own-values.js'
import type { Position } from '../../../core/position.js'
import type { ScopeId } from '../../../core/scope.js'
import type { Session } from '../../../core/session.js'
import type { Turn as CacheTurn } from '../../../core/session-cache.js'
import type { WritePolicy } from '../../../core/write-policy.js'
import { type Captured, capturedPosition, sendCapture, sendWithCapture } from '../capture.js'
import type { Classified } from '../classifier.js'
import type { Lease } from '../connections.js'
import { type Answer, type QueryInput, send, sendTogether } from '../driver.js'
import { breaksConnection } from '../driver-errors.js'
import { finish, Interrupt } from '../interrupt.js'
import { POSITION_QUERY, type PositionRow } from '../position-query.js'
import type { PostgresNode } from '../postgres-node.js'
import type { QueryOptions } from '../query-options.js'
import { upperBoundOf } from '../read-bound.js'
import { endLongCommit, REMOTE_APPLY_LOCAL } from '../remote-apply.js'
import type { Statement } from '../statement/index.js'
import type { Statements } from '../statements.js'
import { NeedsPrimaryError } from './needs-primary-error.js'
import { type Submittable, sendSubmittable, whenSettled } from './submittable.js'

/** One statement, on whose behalf it runs, and how things stood before it. */
interface Turn {
  readonly classified: Classified
  readonly session: Session | undefined
  readonly wasInTransaction: boolean
  readonly sentAt: number
}

/** The author's own value, for the session cache if the transaction commits. */
interface Staged {
  readonly turn: CacheTurn
  readonly rows: readonly Record<string, unknown>[] | undefined
}

/** A commit whose acknowledgement is held until its policy is reached. */
export interface Held {
  readonly sessions: readonly Session[]
  readonly position: Position | undefined
  readonly policy: WritePolicy | undefined
}

/** Where the node was after a statement: a primary is asked for `captured`, a replica for `bound`. */
interface Asked {
  readonly captured?: Captured
  readonly bound?: Answer | undefined
}

export class PinnedConnection {
  readonly lease: Lease
  /** For those who release a lease when a statement has ended: this one is held longer. */
  readonly #held: Lease
  readonly #target: PostgresNode
  readonly #statements: Statements
  /** Sessions in scope of the statements since the connection was last outside a transaction: its commit is theirs. */
  readonly #sessions = new Set<Session>()
  /** One of those statements may have written. */
  #wrote = false
  /** What those statements may have written; `undefined` is everything. */
  #scopes: Set<ScopeId> | undefined = new Set()
  /** Holds the acknowledgement of the commit. */
  #policy: WritePolicy | undefined
  /** What becomes of values meant for the session cache when the transaction has ended. */
  #staged: Staged[] = []
  /** One of those statements may have changed the catalog. */
  #changedCatalog = false
  /** Session state was left on the connection: it stays tied until released, and is not reused. */
  #tainted = false
  /** It failed in a way that says nothing of what the server is doing now: it is not reused. */
  #broken = false

  constructor(lease: Lease, target: PostgresNode, statements: Statements) {
    this.lease = lease
    const { connection, identity, incarnation, writes } = lease
    this.#held = { connection, identity, incarnation, writes, release() {} }
    this.#target = target
    this.#statements = statements
    target.node.inFlight++
  }

  get inTransaction(): boolean {
    return (this.lease.connection.getTransactionStatus?.() ?? 'I') !== 'I'
  }

  /** Whether the client must stay with this connection. */
  get tied(): boolean {
    return this.#tainted || this.inTransaction
  }

  /** Runs one statement. Rejects with the driver's error, the signal's reason, or {@link NeedsPrimaryError}: nothing was sent then. */
  async query(
    input: QueryInput,
    values: readonly unknown[] | undefined,
    classified: Classified,
    session: Session | undefined,
    options: QueryOptions,
  ): Promise<{ readonly result: pg.QueryResult; readonly held: Held | undefined }> {
    const { signal, cache } = options
    signal?.throwIfAborted()
    const turn = this.#begin(classified, session, options)
    const stopWatching = this.#beforeCommit(turn)
    const { answer, asked } = await this.#send(input, values, this.#expectsToAsk(turn), signal)
    await stopWatching?.()
    if (cache !== undefined && session !== undefined && !classified.standby && answer.error === undefined) {
      this.keepWhenCommitted(session, cache, answer.result.rows)
    }
    const showsRows = (answer.result?.rows?.length ?? 0) > 0
    const held = await this.#end(turn, answer.error, asked, showsRows, answer.result?.command)
    if (answer.error !== undefined) throw answer.error
    return { result: answer.result, held }
  }

  /** For the session cache: kept if the transaction that is open commits, forgotten if it does not. */
  keepWhenCommitted(session: Session, key: string, rows: readonly Record<string, unknown>[] | undefined): void {
    const { caches } = this.#statements.executor.context
    this.#staged.push({ turn: caches.begin(session.author, key), rows })
  }

  /** Runs a cursor, a stream or the like to its end. Resolves to the error that it was told of, if any. */
  async submit(submittable: Submittable, classified: Classified, session: Session | undefined): Promise<unknown> {
    const turn = this.#begin(classified, session, {})
    const onReady = () => {
      // Whoever closed it may know before the position has come: until then, only the primary has its write for certain.
      if (!this.inTransaction && this.#commits(classified.statement))
        for (const each of this.#sessions) each.doubt(this.lease.writes)
    }
    const { error, tell } = await sendSubmittable(this.lease.connection, submittable, onReady).catch(problem => {
      this.#broken = true
      throw problem
    })
    // Nothing tells whether its portal is still open, and whatever is sent now would wait behind it.
    if (error !== undefined && breaksConnection(error)) this.cut()
    await this.#end(turn, error, undefined, true)
    tell()
    return error
  }

  /** Gives the connection back; it is closed instead when it holds state that is not the pool's to share. */
  release(discard: boolean): void {
    this.#target.node.inFlight--
    this.lease.release(discard || this.tied || this.#broken)
  }

  /** What is running fails at once. */
  cut(): void {
    this.#target.cut(this.lease)
  }

  get onPrimary(): boolean {
    return this.lease.writes !== undefined
  }

  #begin(classified: Classified, session: Session | undefined, options: QueryOptions): Turn {
    const { statement, standby } = classified
    if (!this.onPrimary && !standby && !mayRunOnReplica(statement)) throw new NeedsPrimaryError(whyPrimary(statement))
    if (session !== undefined) this.#sessions.add(session)
    if (!standby && statement.kind !== 'begin' && statement.kind !== 'end') {
      this.#wrote = true
      this.#policy = policyOf(options.writePolicy, this.#statements.executor.context)
      // Also what speaks to the session: FETCH runs whatever its cursor was declared for.
      this.#mark(this.#statements.scopesOf(classified, options))
    }
    // Nothing is kept of how old the snapshot is that a transaction reads from.
    if (showsData(statement.kind)) session?.readFrom(undefined)
    if (statement.changesCatalog) this.#changedCatalog = true
    if (statement.ties) this.#tainted = true
    return { classified, session, wasInTransaction: this.inTransaction, sentAt: this.#statements.executor.context.clock.now() }
  }

  #mark(scopes: readonly ScopeId[] | undefined): void {
    if (scopes === undefined) this.#scopes = undefined
    else for (const scope of scopes) this.#scopes?.add(scope)
  }

  /** What a policy sends in front of a COMMIT. The function that comes back is for when that was answered. */
  #beforeCommit(turn: Turn): (() => Promise<void>) | undefined {
    const policy = this.#policy
    if (policy?.remoteApply !== true || !expectsEnd(turn) || !turn.wasInTransaction || !this.#wrote) return undefined
    // In a transaction that has failed this fails too, and the COMMIT is a ROLLBACK anyway.
    send(this.lease.connection, REMOTE_APPLY_LOCAL, undefined, () => {})
    return endLongCommit(this.lease, this.#target, policy.timeoutMs, this.#statements.executor.context.clock)
  }

  /**
   * Enters into the sessions what the statement has committed and shown. The facts decide, not what its text promised.
   * Resolves to what the acknowledgement of a commit is held for.
   */
  async #end(
    turn: Turn,
    error: unknown,
    sent: Asked | undefined,
    showsRows: boolean,
    command?: string,
  ): Promise<Held | undefined> {
    const { statement } = turn.classified
    const lost = error !== undefined && breaksConnection(error)
    if (lost) this.#broken = true
    // Of a lost answer the text must tell: the state is the one before it, and a COMMIT may have been done.
    const open = lost ? !expectsEnd(turn) : this.inTransaction
    const commits = !open && this.#commits(statement)
    const bounds = error === undefined && this.#bounds(turn, showsRows)
    const asked = commits || bounds ? (sent ?? (await this.#ask())) : {}
    const position = commits ? capturedPosition(asked.captured, this.lease) : undefined
    // A COMMIT of a failed transaction is answered by ROLLBACK; and what a savepoint took back was perhaps staged after it.
    const undone = error !== undefined || command === 'ROLLBACK'
    const held = commits && !undone ? { sessions: [...this.#sessions], position, policy: this.#policy } : undefined
    const kept = this.#staged.map(({ turn: own, rows }) => ({ turn: own, rows: this.#isAlone(own) ? rows : undefined }))
    if (undone || !open) this.#staged = []
    if (commits) await this.#enterCommit(position, turn.sentAt, !undone)
    if (undone || !open) this.#keep(kept, undone ? undefined : position)
    // It committed and went on in another transaction (AND CHAIN), where asking would take that one's snapshot.
    else if (open && mayHaveCommitted(statement) && this.#wrote) for (const each of this.#sessions) each.doubt(this.lease.writes)
    if (bounds) this.#enterShown(turn.session!, asked)
    if (!open) this.#endTransaction()
    return held
  }

  async #enterCommit(position: Position | undefined, sentAt: number, acknowledged: boolean): Promise<void> {
    const scopes = this.#scopes && [...this.#scopes]
    const commit = { node: this.#target.node, sentAt, lineage: this.lease.writes, acknowledged }
    const enter = (session?: Session) => this.#statements.executor.entered(session, position, scopes, commit)
    if (this.#sessions.size === 0) enter()
    await Promise.all([...this.#sessions].map(enter))
  }

  #enterShown(session: Session, asked: Asked): void {
    const bound = this.#boundOf(asked)
    if (bound === undefined) session.sawUnbounded(this.#target.node.lineage)
    else session.saw(bound)
  }

  #isAlone(turn: CacheTurn): boolean {
    return this.#statements.executor.context.caches.isAlone(turn)
  }

  /** Own values whose transaction has ended: kept as of its position, or forgotten when it did not commit. */
  #keep(staged: readonly Staged[], position: Position | undefined): void {
    for (const { turn, rows } of staged) keepWritten(turn, rows, position, this.#statements.executor.context)
  }

  #endTransaction(): void {
    if (this.#changedCatalog) this.#statements.classifier.invalidate()
    this.#sessions.clear()
    this.#scopes = new Set()
    this.#policy = undefined
    this.#wrote = this.#changedCatalog = false
  }

  /** Whether something is committed when no transaction is open after this statement. */
  #commits({ kind, commits }: Statement): boolean {
    const matters = this.#sessions.size > 0 || this.#policy !== undefined
    return this.#wrote && this.onPrimary && matters && (kind !== 'end' || commits)
  }

  /** Whether an upper bound is needed of what this statement has shown. */
  #bounds({ classified: { statement }, session }: Turn, showsRows: boolean): boolean {
    return session?.guarantee === 'monotonic-reads' && (showsData(statement.kind) || (statement.kind === 'session' && showsRows))
  }

  /** What the text lets expect, so that the question can be sent right behind it. */
  #expectsToAsk(turn: Turn): boolean {
    return (expectsEnd(turn) && this.#commits(turn.classified.statement)) || this.#bounds(turn, false)
  }

  #send(
    input: QueryInput,
    values: readonly unknown[] | undefined,
    ask: boolean,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly answer: Answer; readonly asked?: Asked }> {
    const { connection } = this.lease
    const interrupt = Interrupt.of(signal, this.#held, this.#target)
    return new Promise(resolve => {
      const settle = (answer: Answer, asked?: Asked) =>
        finish(interrupt, this.#held, answer.error, shown => {
          const seen = shown === undefined ? answer : { error: shown as Error }
          resolve(asked === undefined ? { answer: seen } : { answer: seen, asked })
        })
      if (ask && this.onPrimary) {
        sendWithCapture(connection, input, values, (answer, captured) => settle(answer, { captured }))
      } else if (ask) {
        sendTogether(connection, [[input, values], [{ ...POSITION_QUERY }]], ([answer, bound]) => settle(answer!, { bound }))
      } else {
        send(connection, input, values, (error, result) => {
          if (error) whenSettled(connection, error, () => settle({ error }))
          else settle({ result })
        })
      }
    })
  }

  #ask(): Promise<Asked> {
    const { connection } = this.lease
    return new Promise(resolve => {
      if (this.onPrimary) sendCapture(connection, captured => resolve({ captured }))
      else send(connection, { ...POSITION_QUERY }, undefined, (error, result) => resolve(error ? {} : { bound: { result } }))
    })
  }

  #boundOf({ captured, bound }: Asked): Position | undefined {
    if (this.onPrimary) return capturedPosition(captured, this.lease)
    try {
      return bound?.result && upperBoundOf(bound.result.rows[0] as PositionRow, this.lease.identity)
    } catch {
      return undefined
    }
  }
}

/**
 * What only speaks to the transaction that is open there. Not what leaves state behind: the client would stay with this
 * replica after the transaction, where nothing asks any more whether it has caught up.
 */
function mayRunOnReplica({ kind, ties, transactionAfter }: Statement): boolean {
  return kind === 'begin' || (kind === 'end' && transactionAfter === 'closed') || (kind === 'session' && !ties)
}

function whyPrimary({ kind, ties, reason }: Statement): string {
  if (ties) return 'it leaves state behind on its connection'
  return kind === 'read' ? 'it uses something that may write or is not known to only read' : reason
}

/** Whether, by the text, no transaction is open after the statement. */
function expectsEnd({ wasInTransaction, classified: { statement } }: Turn): boolean {
  return wasInTransaction ? statement.transactionAfter === 'closed' : statement.transactionAfter !== 'open'
}

/** Of a statement that leaves a transaction open: whether it may have committed one before. */
function mayHaveCommitted({ kind, commits, transactionAfter }: Statement): boolean {
  return transactionAfter === 'open' && kind !== 'begin' && (kind !== 'end' || commits)
}

function showsData(kind: Statement['kind']): boolean {
  return kind === 'read' || kind === 'write' || kind === 'unknown'
}
