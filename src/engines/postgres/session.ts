import type pg from 'pg'
import { checkNumber, MAX_TIMER_MS } from '../../core/check-number.js'
import { TidemarkError } from '../../core/errors.js'
import type { Scope } from '../../core/execution/execution-context.js'
import { keepWritten } from '../../core/execution/own-values.js'
import { allWrites } from '../../core/history.js'
import { Session, type SessionContext, type SessionOptions, type Tokens } from '../../core/session.js'
import type { QueryInput } from './driver.js'
import type { RoutedClient } from './pool/routed-client.js'
import type { RoutedPool } from './pool/routed-pool.js'
import type { QueryOptions as StatementOptions } from './query-options.js'
import type { Statements } from './statements.js'

export interface QueryOptions extends StatementOptions {
  /** Like an `AbortSignal.timeout` of this many milliseconds, together with `signal` if that is given too. Default none. */
  readonly timeoutMs?: number | undefined
}

export interface TransactionOptions extends Pick<QueryOptions, 'signal' | 'timeoutMs' | 'scope' | 'writePolicy' | 'ladder'> {
  /** Runs on a fenced replica when one has caught up, in one `READ ONLY` transaction. Default false. */
  readonly readOnly?: boolean
  /** Default: the server's. `serializable` runs on the primary even when read-only, as standbys do not offer it. */
  readonly isolationLevel?: 'read committed' | 'repeatable read' | 'serializable'
}

/** One transaction; its statements share one connection. */
export interface Transaction {
  query<R extends pg.QueryResultRow = pg.QueryResultRow>(
    input: QueryInput,
    values?: readonly unknown[],
    options?: Pick<QueryOptions, 'scope' | 'cache'>,
  ): Promise<pg.QueryResult<R>>
  /** As {@link PostgresSession.put}, if the transaction commits. */
  put(key: string, value: CachedValue): void
}

/** What a read with the key would return: a row, or rows. */
export type CachedValue = Record<string, unknown> | readonly Record<string, unknown>[]

/** COMMIT was answered with ROLLBACK: an earlier statement had failed, so nothing was committed. */
export class RolledBackError extends TidemarkError {
  declare readonly code: 'TIDEMARK_ROLLED_BACK'
  constructor() {
    super(
      'TIDEMARK_ROLLED_BACK',
      'the transaction was rolled back, not committed: a statement in it had failed and its error was swallowed. Let the error reach transaction().',
    )
  }
}

/** What sessions need of their database. */
export interface PostgresSessionContext extends SessionContext {
  readonly statements: Statements
  createClient(scope: Scope): RoutedClient
  createPool(scope: Scope): RoutedPool
  runInScope<T>(session: PostgresSession, work: () => T): T
}

/** A session on PostgreSQL: reads see everything it wrote, from whichever node has it. */
export class PostgresSession extends Session {
  readonly #context: PostgresSessionContext
  readonly #options: SessionOptions
  #pool: RoutedPool | undefined
  /** Transactions that are open, the newest last: what is put meanwhile may be of one that does not commit. */
  readonly #transactions: Transaction[] = []

  constructor(context: PostgresSessionContext, tokens: Tokens, options: SessionOptions, origin?: PostgresSession) {
    super(context, tokens, options, origin)
    this.#context = context
    this.#options = options
  }

  /** A `pg.Pool` whose statements all belong to this session, wherever they are sent from. */
  get pool(): RoutedPool {
    this.#pool ??= this.#context.createPool(this)
    return this.#pool
  }

  /**
   * Runs one statement. A read goes down the ladder; anything else to the primary, once, and its position is captured.
   * Rejects with the driver's error as it is, `NotServedError` or `NotReadyError` when no rung serves, or the signal's reason.
   */
  query<R extends pg.QueryResultRow = pg.QueryResultRow>(
    input: QueryInput,
    values?: readonly unknown[],
    options?: QueryOptions,
  ): Promise<pg.QueryResult<R>> {
    return this.#context.statements.run(this, input, values, withDeadline(options)) as Promise<pg.QueryResult<R>>
  }

  /**
   * Keeps the author's own value under `key`, as of what this session has written so far: reads of this author with
   * `{ cache: key }` may get it from a `sessionCache` rung until a replica that would serve them has those writes. While a
   * transaction of this session is open, the value is kept if that transaction commits. For this author alone, bounded.
   */
  put(key: string, value: CachedValue): void {
    const transaction = this.#transactions.at(-1)
    if (transaction !== undefined) transaction.put(key, value)
    else {
      const position = this.history.uncertain ? undefined : allWrites(this.history)
      keepWritten({ author: this.author, key }, rowsOf(value), position, this.#context.statements.executor.context)
    }
  }

  /**
   * Runs `work` in a transaction: committed when it resolves, rolled back when it rejects. If the answer to COMMIT is
   * lost it rejects with the driver's error and the session is uncertain: its next read goes to the primary.
   * `work` is never run twice.
   */
  async transaction<T>(work: (transaction: Transaction) => Promise<T>, options: TransactionOptions = {}): Promise<T> {
    const client = this.#context.createClient(this)
    const query = withDeadline(options)
    const transaction: Transaction = {
      query: <R extends pg.QueryResultRow>(input: QueryInput, values?: readonly unknown[], own?: QueryOptions) =>
        client.run(input, values, { ...query, ...own }) as Promise<pg.QueryResult<R>>,
      put: (key, value) => {
        client.keepWhenCommitted(this, key, rowsOf(value))
      },
    }
    try {
      await client.run(beginText(options), undefined, query)
      this.#transactions.push(transaction)
      const result = await work(transaction)
      const end = await client.run('COMMIT')
      if (end.command === 'ROLLBACK') throw new RolledBackError()
      client.release()
      return result
    } catch (error) {
      const rolledBack =
        client.getTransactionStatus() === 'I' ||
        (await client.run('ROLLBACK').then(
          () => true,
          () => false,
        ))
      client.release(rolledBack ? undefined : true)
      throw error
    } finally {
      const at = this.#transactions.indexOf(transaction)
      if (at >= 0) this.#transactions.splice(at, 1)
    }
  }

  /**
   * Makes this the session in scope for `db.pool` within `work` and everything it awaits. A query of an ORM that `work`
   * returns without awaiting it is started within, too, and a promise of its result returned.
   */
  run<T>(work: () => T): T {
    return this.#context.runInScope(this, () => started(work()))
  }

  /** A session that begins with this one's history and goes its own way: for parallel work. Bring it back with `merge`. */
  fork(): PostgresSession {
    return new PostgresSession(this.#context, undefined, this.#options, this)
  }
}

function rowsOf(value: CachedValue): readonly Record<string, unknown>[] {
  return Array.isArray(value) ? value : [value as Record<string, unknown>]
}

/** Queries of most ORMs begin when they are awaited; out of scope, that would be too late. */
function started<T>(result: T): T {
  const { then } = (result ?? {}) as { then?: unknown }
  if (typeof then !== 'function' || result instanceof Promise) return result
  return new Promise((resolve, reject) => then.call(result, resolve, reject)) as T
}

function beginText({ readOnly, isolationLevel }: TransactionOptions): string {
  const level = isolationLevel === undefined ? '' : ` ISOLATION LEVEL ${LEVELS[isolationLevel]}`
  return `BEGIN${level}${readOnly ? ' READ ONLY' : ''}`
}

const LEVELS = { 'read committed': 'READ COMMITTED', 'repeatable read': 'REPEATABLE READ', serializable: 'SERIALIZABLE' } as const

function withDeadline(options: QueryOptions | undefined): StatementOptions | undefined {
  if (options?.timeoutMs === undefined) return options
  checkNumber('timeoutMs', options.timeoutMs, { min: 0, max: MAX_TIMER_MS })
  // What is left of a deadline is seldom a whole number.
  const timeout = AbortSignal.timeout(Math.ceil(options.timeoutMs))
  return { ...options, signal: options.signal === undefined ? timeout : AbortSignal.any([options.signal, timeout]) }
}
