/**
 * What `db.pool.connect()` gives: a client that has no connection of its own until something ties it to one. Until then
 * every statement goes where the router sends it; a transaction, session state, or a cursor ties it to a connection.
 * A transaction ends the tie when it ends; session state keeps it until the client is released.
 */
import { EventEmitter } from 'node:events'
import type pg from 'pg'
import type { Classified } from '../classifier.js'
import type { Driver, QueryInput } from '../driver.js'
import type { Executor, QueryOptions, Scope } from '../executor.js'
import { PinnedConnection } from './pinned-connection.js'
import { isSubmittable, type Submittable, textOf, whenDone } from './submittable.js'

type Callback = (error: Error | null | undefined, result?: pg.QueryResult) => void
const FORWARDED = ['notification', 'notice'] as const

export interface RoutedClientOptions {
  readonly executor: Executor
  readonly driver: Driver
  /** Asked anew for every statement: on whose behalf it runs. */
  readonly scope: () => Scope
  readonly onRelease?: (error: Error | boolean | undefined) => void
}

export class RoutedClient extends EventEmitter {
  readonly #options: RoutedClientOptions
  #pinned: PinnedConnection | undefined
  #released = false
  /** Statements of one client run one after the other, as they do on a connection. */
  #tail: Promise<unknown> = Promise.resolve()
  #queued = 0
  readonly #forwarders = FORWARDED.map(event => [event, (message: unknown) => this.emit(event, message)] as const)

  constructor(options: RoutedClientOptions) {
    super()
    this.#options = options
  }

  /** As `pg.Client.query`: promises and callbacks, text, config, or a `Submittable` (a cursor, a query stream). */
  query(input: QueryInput | Submittable, values?: readonly unknown[] | Callback, callback?: Callback): unknown {
    if (input == null) throw new TypeError('Client was passed a null or undefined query')
    if (isSubmittable(input)) {
      this.#enqueue(() => this.#submit(input)).catch(error => input.handleError(error, undefined))
      return input
    }
    const done = typeof values === 'function' ? values : (callback ?? (input as { callback?: Callback }).callback)
    const bound = typeof values === 'function' ? undefined : (values ?? (input as pg.QueryConfig).values)
    const result = this.run(input, bound)
    if (done === undefined) return result
    result.then(
      answer => done(undefined, answer),
      error => done(error),
    )
    return undefined
  }

  /** One statement, after those sent before it. */
  run(input: QueryInput, values?: readonly unknown[], options: QueryOptions = {}): Promise<pg.QueryResult> {
    return this.#enqueue(() => this.#run(input, values, options))
  }

  /** Gives the client back; statements still running are waited for. With an error its connection is closed. */
  release(error?: Error | boolean): void {
    if (this.#released) throw new Error('Release called on client which has already been released to the pool.')
    this.#released = true
    this.#tail = this.#tail.then(() => this.#unpin(error || undefined))
    this.#options.onRelease?.(error)
  }

  /** For libraries that treat a pooled client as a connection of their own. */
  async end(callback?: () => void): Promise<void> {
    if (!this.#released) this.release()
    callback?.()
  }

  /** Already connected: connections are made when statements need them. */
  async connect(callback?: (error?: Error) => void): Promise<void> {
    callback?.()
  }

  ref(): void {}
  unref(): void {}

  escapeIdentifier(text: string): string {
    return this.#options.driver.escapeIdentifier(text)
  }

  escapeLiteral(text: string): string {
    return this.#options.driver.escapeLiteral(text)
  }

  /** The backend's process id while the client is tied to a connection, else `null`. */
  get processID(): number | null {
    return this.#pinned?.lease.connection.processID ?? null
  }

  getTransactionStatus(): 'I' | 'T' | 'E' | null {
    return this.#pinned?.lease.connection.getTransactionStatus?.() ?? 'I'
  }

  getTypeParser: pg.Client['getTypeParser'] = (...args: unknown[]) =>
    (this.#options.driver.types.getTypeParser as (...args: unknown[]) => never)(...args)

  #enqueue<T>(job: () => Promise<T>): Promise<T> {
    if (this.#released) return Promise.reject(new Error('Client was released and is not queryable'))
    // The common case, one statement at a time, needs no chain.
    const result = this.#queued++ === 0 ? job() : this.#tail.then(job)
    const settled = () => {
      this.#queued--
    }
    this.#tail = result.then(settled, settled)
    return result
  }

  async #run(input: QueryInput, values: readonly unknown[] | undefined, options: QueryOptions): Promise<pg.QueryResult> {
    const { executor } = this.#options
    const classified = executor.classify(typeof input === 'string' ? input : input.text, options)
    if (this.#pinned === undefined) {
      if (!needsPin(classified)) return executor.run(this.#options.scope(), input, values, options)
      await this.#pin(classified, options)
    }
    const pinned = this.#pinned!
    try {
      return await pinned.query(input, values, classified)
    } finally {
      if (!pinned.tainted && !pinned.inTransaction) this.#unpin()
    }
  }

  /** A cursor or stream keeps its portal open across round trips, so the client is tied until it is released. */
  async #submit(submittable: Submittable): Promise<void> {
    const { executor } = this.#options
    if (this.#pinned === undefined) await this.#pin(executor.classify(textOf(submittable)), {}, true)
    const pinned = this.#pinned!
    const { connection } = pinned.lease
    const wasPipelined = connection.pipeline
    // The driver refuses portals on a pipelined connection.
    if (wasPipelined) connection.pipeline = false
    const done = whenDone(submittable)
    ;(connection.query as (submittable: Submittable) => void).call(connection, submittable)
    await done
    if (wasPipelined) connection.pipeline = true
    if (!pinned.inTransaction) {
      await pinned.captureNow()
      if (!pinned.tainted) this.#unpin()
    }
  }

  async #pin(classified: Classified, options: QueryOptions, streams = false): Promise<void> {
    const { executor, scope } = this.#options
    const on = scope()
    const { statement } = classified
    const session = typeof on === 'object' ? on : undefined
    const mayFollow = on !== 'primary' && options.on !== 'primary' && statement.hint !== 'primary'
    if (mayFollow && ((statement.kind === 'begin' && statement.readOnly) || (streams && classified.standby))) {
      this.#pinned = await executor.route(
        on,
        options,
        async (lease, node) => new PinnedConnection(lease, node, executor, session),
      )
    } else {
      const { lease, node } = await executor.acquirePrimary()
      this.#pinned = new PinnedConnection(lease, node, executor, session)
    }
    for (const [event, forward] of this.#forwarders) emitter(this.#pinned).on(event, forward)
  }

  #unpin(error?: Error | boolean): void {
    const pinned = this.#pinned
    if (pinned === undefined) return
    this.#pinned = undefined
    for (const [event, forward] of this.#forwarders) emitter(pinned).removeListener(event, forward)
    pinned.release(error)
  }
}

function emitter(pinned: PinnedConnection): EventEmitter {
  return pinned.lease.connection
}

function needsPin({ statement }: Classified): boolean {
  return statement.kind === 'begin' || statement.kind === 'session' || statement.ties || statement.transactionAfter === 'open'
}
