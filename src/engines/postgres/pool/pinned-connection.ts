/**
 * A connection that a checked-out client is tied to, from the statement that tied it (BEGIN, SET, LISTEN, a cursor …)
 * until nothing does any more.
 */
import type pg from 'pg'
import type { Node } from '../../../core/node.js'
import type { Session } from '../../../core/session.js'
import { type Captured, sendCapture, sendWithCapture } from '../capture.js'
import type { Classified } from '../classifier.js'
import { type Answer, type QueryInput, send } from '../driver.js'
import type { Executor } from '../executor.js'
import type { Lease } from '../postgres-node.js'
import { NeedsPrimaryError } from './needs-primary-error.js'

export class PinnedConnection {
  readonly lease: Lease
  readonly #node: Node
  readonly #executor: Executor
  /** Whose writes these are: the session in scope when the connection was tied. */
  readonly #session: Session | undefined
  /** Session state was left on the connection: it stays tied until released, and is not reused. */
  tainted = false

  constructor(lease: Lease, node: Node, executor: Executor, session: Session | undefined) {
    this.lease = lease
    this.#node = node
    this.#executor = executor
    this.#session = session
    node.inFlight++
  }

  get inTransaction(): boolean {
    return (this.lease.connection.getTransactionStatus?.() ?? 'I') !== 'I'
  }

  async query(input: QueryInput, values: readonly unknown[] | undefined, classified: Classified): Promise<pg.QueryResult> {
    const { statement, standby } = classified
    if (
      this.#node.role === 'replica' &&
      !standby &&
      statement.kind !== 'end' &&
      statement.kind !== 'session' &&
      statement.kind !== 'begin'
    ) {
      // Some of these would silently do the wrong thing on a standby (an advisory lock, for one).
      throw new NeedsPrimaryError(statement.reason)
    }
    const wasInTransaction = this.inTransaction
    const commits = wasInTransaction
      ? statement.transactionAfter === 'closed'
      : statement.kind !== 'read' && statement.transactionAfter !== 'open'
    const sentAt = performance.now()
    const { answer, ...captured } = await this.#send(input, values, commits)
    if (statement.ties) this.tainted = true
    if (statement.changesCatalog) this.#executor.context.classifier.invalidate()
    await this.#enter(captured, wasInTransaction, sentAt)
    if (answer.error !== undefined) throw answer.error
    return answer.result
  }

  /** Takes the position of what a statement that went around `query` (a cursor, a stream) may have committed. */
  async captureNow(): Promise<void> {
    const sentAt = performance.now()
    if (!this.#mayHaveWritten) return
    const captured = await new Promise<Captured>(resolve => sendCapture(this.lease.connection, resolve))
    await this.#entered(captured, sentAt)
  }

  /** Gives the connection back; it is closed instead when it holds state that is not the pool's to share. */
  release(error?: unknown): void {
    this.#node.inFlight--
    this.lease.release(error !== undefined || this.tainted || this.inTransaction)
  }

  #send(
    input: QueryInput,
    values: readonly unknown[] | undefined,
    commits: boolean,
  ): Promise<{ answer: Answer; captured?: Captured }> {
    return new Promise(resolve => {
      if (commits && this.#mayHaveWritten) {
        sendWithCapture(this.lease.connection, input, values, (answer, captured) => resolve({ answer, captured }))
      } else {
        send(this.lease.connection, input, values, (error, result) => resolve({ answer: error ? { error } : { result } }))
      }
    })
  }

  async #enter(asked: { captured?: Captured }, wasInTransaction: boolean, sentAt: number): Promise<void> {
    if ('captured' in asked) await this.#entered(asked.captured, sentAt)
    // A transaction that ended in a way the text did not show (a procedure, a driver's own protocol).
    else if (wasInTransaction && !this.inTransaction) await this.captureNow()
  }

  async #entered(captured: Captured, sentAt: number): Promise<void> {
    if (this.#session !== undefined) await this.#executor.entered(this.#session, captured, this.lease, this.#node, sentAt)
  }

  get #mayHaveWritten(): boolean {
    return this.#session !== undefined && this.lease.writes !== undefined
  }
}
