import type pg from 'pg'
import { TidemarkError } from '../../core/errors.js'
import { Session, type SessionContext, type SessionOptions, type Tokens } from '../../core/session.js'
import type { QueryInput } from './driver.js'
import type { Executor, QueryOptions as ExecutorOptions, Scope } from './executor.js'
import type { RoutedClient } from './pool/routed-client.js'
import type { RoutedPool } from './pool/routed-pool.js'

export interface QueryOptions extends ExecutorOptions {
  /** Like an `AbortSignal.timeout` of this many milliseconds, together with `signal` if that is given too. Default none. */
  readonly timeoutMs?: number | undefined
}

export interface TransactionOptions extends Pick<QueryOptions, 'signal' | 'timeoutMs'> {
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
  ): Promise<pg.QueryResult<R>>
}

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
  readonly executor: Executor
  createClient(scope: Scope): RoutedClient
  createPool(scope: Scope): RoutedPool
  runInScope<T>(session: PostgresSession, work: () => T): T
}

/** A session on PostgreSQL: reads see everything it wrote, from whichever node has it. */
export class PostgresSession extends Session {
  readonly #context: PostgresSessionContext
  readonly #options: SessionOptions
  #pool: RoutedPool | undefined

  constructor(context: PostgresSessionContext, tokens: Tokens, options: SessionOptions) {
    super(context, tokens, options)
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
    return this.#context.executor.run(this, input, values, withDeadline(options)) as Promise<pg.QueryResult<R>>
  }

  /**
   * Runs `work` in a transaction: committed when it resolves, rolled back when it rejects. If the answer to COMMIT is
   * lost it rejects with the driver's error and the session is uncertain: its next read goes to the primary.
   * `work` is never run twice.
   */
  async transaction<T>(work: (transaction: Transaction) => Promise<T>, options: TransactionOptions = {}): Promise<T> {
    const client = this.#context.createClient(this)
    const query = withDeadline(options)
    const run = (text: string) => client.run(text, undefined, query)
    try {
      await run(beginText(options))
      const result = await work({
        query: <R extends pg.QueryResultRow>(input: QueryInput, values?: readonly unknown[]) =>
          client.run(input, values, query) as Promise<pg.QueryResult<R>>,
      })
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
    const fork = new PostgresSession(this.#context, this.token(), this.#options)
    return fork
  }
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

function withDeadline(options: QueryOptions | undefined): ExecutorOptions | undefined {
  if (options?.timeoutMs === undefined) return options
  const timeout = AbortSignal.timeout(options.timeoutMs)
  return { ...options, signal: options.signal === undefined ? timeout : AbortSignal.any([options.signal, timeout]) }
}
