import type { Executor } from '../../core/execution/executor.js'
import type { OwnValue } from '../../core/execution/own-values.js'
import type { Ladder } from '../../core/ladder.js'
import { scopeIds } from '../../core/scope.js'
import { Session, type SessionContext, type SessionOptions, type Tokens } from '../../core/session.js'
import type { WritePolicy } from '../../core/write-policy.js'
import type { SimulatedLease } from './connection-pool.js'
import type { SimulatedNode } from './simulated-node.js'
import { type Row, sendRead, sendWrite, type WriteValues } from './statements.js'
import { runTransaction, type SimulatedTransaction, type TransactionOptions } from './transaction.js'

export interface ReadOptions {
  /** What is read, and nothing else. Default: everything. */
  readonly scope?: string | readonly string[] | undefined
  /** The key of the author's own value in the session cache. */
  readonly cache?: string | undefined
  readonly ladder?: Ladder | undefined
  readonly signal?: AbortSignal | undefined
}

export interface WriteOptions extends Omit<ReadOptions, 'ladder'> {
  readonly writePolicy?: WritePolicy | undefined
  /** `synchronous_commit = off` for this write. Default false. */
  readonly asyncCommit?: boolean | undefined
}

/** What sessions need of their database. */
export interface SimulatedSessionContext extends SessionContext {
  readonly executor: Executor<SimulatedLease, SimulatedNode>
}

/** A session on simulated servers: keys and values instead of SQL; all else is the core's. */
export class SimulatedSession extends Session {
  readonly #context: SimulatedSessionContext
  readonly #options: SessionOptions

  constructor(context: SimulatedSessionContext, tokens: Tokens, options: SessionOptions, origin?: SimulatedSession) {
    super(context, tokens, options, origin)
    this.#context = context
    this.#options = options
  }

  /** The values of the keys, in one snapshot. */
  read(keys: readonly string[], options: ReadOptions = {}): Promise<readonly Row[]> {
    return readKeys(this.#context.executor, this, keys, options)
  }

  /** Writes in one transaction. Resolves to what the keys hold now, with the values that these replaced. */
  write(values: WriteValues, options: WriteOptions = {}): Promise<readonly Row[]> {
    return writeValues(this.#context.executor, this, values, options)
  }

  /**
   * Runs `work` in a transaction: committed when it resolves, rolled back when it rejects. If the answer to COMMIT is lost it
   * rejects and the session is uncertain. `work` is never run twice, except that a read-only one may be moved to another node.
   */
  transaction<T>(work: (transaction: SimulatedTransaction) => Promise<T>, options: TransactionOptions = {}): Promise<T> {
    return runTransaction(this.#context.executor, this, work, options)
  }

  /** A session that begins with this one's history and goes its own way. Bring it back with `merge`. */
  fork(): SimulatedSession {
    return new SimulatedSession(this.#context, undefined, this.#options, this)
  }
}

export function readKeys(
  executor: Executor<SimulatedLease, SimulatedNode>,
  scope: Session | 'eventual',
  keys: readonly string[],
  { scope: scopes, cache, ladder, signal }: ReadOptions,
): Promise<readonly Row[]> {
  const { nodes } = executor.context
  return executor.read(scope, { ladder, signal, scopes: scopeIds(scopes), own: ownRows(cache) }, (lease, node, form) =>
    sendRead({ lease, target: nodes.get(node)!, signal }, keys, form),
  )
}

export function writeValues(
  executor: Executor<SimulatedLease, SimulatedNode>,
  scope: Session | 'primary',
  values: WriteValues,
  { scope: scopes, cache, signal, writePolicy, asyncCommit = false }: WriteOptions,
): Promise<readonly Row[]> {
  const { nodes } = executor.context
  return executor.write(scope, { signal, writePolicy, scopes: scopeIds(scopes), own: ownRows(cache) }, (lease, node, plan) =>
    sendWrite({ lease, target: nodes.get(node)!, signal }, values, asyncCommit, plan),
  )
}

function ownRows(key: string | undefined): OwnValue<readonly Row[]> | undefined {
  return key === undefined ? undefined : { key, rowsOf: rows => rows, withRows: rows => rows as readonly Row[] }
}
