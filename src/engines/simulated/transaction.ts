/** Several statements on one connection. */
import { policyOf } from '../../core/execution/execution-context.js'
import type { Executor } from '../../core/execution/executor.js'
import { covers } from '../../core/execution/read-form.js'
import type { Fence } from '../../core/fence.js'
import type { Ladder } from '../../core/ladder.js'
import type { Node } from '../../core/node.js'
import { Reroute } from '../../core/router.js'
import { scopeIds } from '../../core/scope.js'
import type { Session } from '../../core/session.js'
import type { WritePolicy } from '../../core/write-policy.js'
import type { SimulatedLease } from './connection-pool.js'
import { identityOf, observationOf } from './position-answers.js'
import { ConnectionLostError } from './protocol.js'
import type { SimulatedNode } from './simulated-node.js'
import { boundOf, type Row, rowsOf, sendCommit, type WriteValues } from './statements.js'

export interface TransactionOptions {
  /** What is read and written, and nothing else. Default: everything. */
  readonly scope?: string | readonly string[] | undefined
  readonly signal?: AbortSignal | undefined
  readonly writePolicy?: WritePolicy | undefined
  readonly asyncCommit?: boolean | undefined
  /** Runs on a fenced replica when one has caught up. Default false. */
  readonly readOnly?: boolean | undefined
  /** Of a read-only transaction. */
  readonly ladder?: Ladder | undefined
}

export interface SimulatedTransaction {
  /** Each read has a snapshot of its own, and what this transaction wrote. */
  read(keys: readonly string[]): Promise<readonly Row[]>
  write(values: WriteValues): Promise<readonly Row[]>
}

type SimulatedExecutor = Executor<SimulatedLease, SimulatedNode>

export async function runTransaction<T>(
  executor: SimulatedExecutor,
  session: Session,
  work: (transaction: SimulatedTransaction) => Promise<T>,
  options: TransactionOptions,
): Promise<T> {
  const { signal, readOnly = false, ladder, scope } = options
  if (!readOnly) {
    const policy = policyOf(options.writePolicy, executor.context)
    const { lease, node } = await executor.acquirePrimary(signal, session)
    return new Running(executor, session, lease, node, options).onPrimary(work, policy)
  }
  const served = await executor.route(session, { ladder, signal, scopes: scopeIds(scope) }, (lease, node, fence) =>
    new Running(executor, session, lease, node, options).readOnly(work, fence),
  )
  return served.result
}

type Work<T> = (transaction: SimulatedTransaction) => Promise<T>

/** One that is under way: it owns the lease, and gives it back. */
class Running implements SimulatedTransaction {
  readonly #executor: SimulatedExecutor
  readonly #session: Session
  readonly #lease: SimulatedLease
  readonly #node: Node
  readonly #options: TransactionOptions

  constructor(executor: SimulatedExecutor, session: Session, lease: SimulatedLease, node: Node, options: TransactionOptions) {
    this.#executor = executor
    this.#session = session
    this.#lease = lease
    this.#node = node
    this.#options = options
  }

  async read(keys: readonly string[]): Promise<readonly Row[]> {
    const monotonic = this.#session.guarantee === 'monotonic-reads'
    this.#session.readFrom(undefined)
    const [rows, bound] = await this.#run(() =>
      Promise.all([rowsOf(this.#lease, keys), monotonic ? boundOf(this.#lease) : undefined]),
    )
    if (bound !== undefined) this.#session.saw(bound)
    else if (monotonic) this.#session.sawUnbounded(this.#node.lineage)
    return rows
  }

  async write(values: WriteValues): Promise<readonly Row[]> {
    return (await this.#run(() => this.#lease.connection.request({ kind: 'write', values }))).rows
  }

  async onPrimary<T>(work: Work<T>, policy: WritePolicy | undefined): Promise<T> {
    const { asyncCommit, signal, scope } = this.#options
    const result = await this.#rollingBack(async () => {
      await this.#run(() => this.#lease.connection.request({ kind: 'begin', asyncCommit: asyncCommit ?? false }))
      return work(this)
    })
    const sentAt = this.#executor.context.clock.now()
    const sent = await sendCommit({ lease: this.#lease, target: this.#target, signal })
    const commit = { node: this.#node, sentAt, lineage: this.#lease.writes, acknowledged: sent.error === undefined }
    const stored = this.#executor.entered(this.#session, sent.captured, scopeIds(scope), commit)
    const shown = sent.release()
    await stored
    if (shown !== undefined) throw shown
    await this.#executor.acknowledged([this.#session], sent.captured, policy, signal)
    return result
  }

  /** Moves to another node only before `work` has begun. */
  async readOnly<T>(work: Work<T>, fence: Fence): Promise<T> {
    const { connection } = this.#lease
    const result = await this.#rollingBack(async () => {
      await this.#run(() => this.#begin(fence)).catch(error => {
        throw error instanceof ConnectionLostError ? new Reroute('unreachable', error) : error
      })
      const done = await work(this)
      await this.#run(() => connection.request({ kind: 'commit' }))
      return done
    })
    this.#lease.release()
    return result
  }

  /** Behind an address that hides several servers, the one that this connection leads to is asked whether it has the fence. */
  async #begin(fence: Fence): Promise<void> {
    const { connection } = this.#lease
    await connection.request({ kind: 'begin', readOnly: true })
    if (!this.#node.balanced || fence.kind !== 'at') return
    const row = await connection.request({ kind: 'check' })
    if (!covers(observationOf(row, identityOf(row), 0, 0), fence)) throw new Reroute('not-caught-up')
  }

  get #target(): SimulatedNode {
    return this.#executor.context.nodes.get(this.#node)!
  }

  /** One statement, within its deadline. */
  async #run<R>(send: () => Promise<R>): Promise<R> {
    const { signal } = this.#options
    const stop = this.#target.watch(this.#lease, signal)
    try {
      return await send()
    } catch (error) {
      throw signal?.aborted ? signal.reason : error
    } finally {
      stop()
    }
  }

  async #rollingBack<R>(work: () => Promise<R>): Promise<R> {
    this.#node.inFlight++
    try {
      return await work()
    } catch (error) {
      // A connection that does not say that it has rolled back is not used again.
      const rolledBack = await this.#run(() => this.#lease.connection.request({ kind: 'rollback' })).then(
        () => true,
        () => false,
      )
      this.#lease.release(!rolledBack)
      throw error
    } finally {
      this.#node.inFlight--
    }
  }
}
