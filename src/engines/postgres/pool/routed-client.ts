/**
 * What `db.pool.connect()` gives: a client that has no connection of its own until something ties it to one. Until then
 * every statement goes where the router sends it; a transaction, session state, or a cursor ties it to a connection.
 * A transaction ends the tie when it ends; session state keeps it until the client is released.
 */
import { EventEmitter } from 'node:events'
import type pg from 'pg'
import type { Scope } from '../../../core/execution/execution-context.js'
import { Reroute } from '../../../core/router.js'
import type { Session } from '../../../core/session.js'
import type { Classified } from '../classifier.js'
import type { Driver, QueryInput } from '../driver.js'
import { rerouteReasonOf } from '../driver-errors.js'
import type { QueryOptions } from '../query-options.js'
import type { Statements } from '../statements.js'
import { type Callback, callBack } from './callback.js'
import { PinnedConnection } from './pinned-connection.js'
import { isSubmittable, type Submittable, textOf, watchForClose } from './submittable.js'

export interface RoutedClientOptions {
  readonly statements: Statements
  readonly driver: Driver
  /** Asked anew for every statement: on whose behalf it runs. */
  readonly scope: () => Scope
  readonly onRelease?: (error: Error | boolean | undefined) => void
}

type Listener = readonly [event: string, listener: (message: unknown) => void]

export class RoutedClient extends EventEmitter {
  readonly #options: RoutedClientOptions
  #pinned: PinnedConnection | undefined
  #released = false
  /** Released with an error: nothing that still runs is of interest. */
  #discarded = false
  /** Statements of one client run one after the other, as they do on a connection. */
  #tail: Promise<unknown> = Promise.resolve()
  #queued = 0
  /** What the connection has to say is passed on while the client is tied to it. */
  #forwarders: readonly Listener[] | undefined
  #types: pg.TypeOverrides | undefined

  constructor(options: RoutedClientOptions) {
    super()
    this.#options = options
  }

  /** As `pg.Client.query`: promises and callbacks, text, config, or a `Submittable` (a cursor, a query stream). */
  query(
    input: QueryInput | Submittable,
    values?: readonly unknown[] | Callback<pg.QueryResult>,
    callback?: Callback<pg.QueryResult>,
  ): unknown {
    if (input == null) throw new TypeError('Client was passed a null or undefined query')
    const done = typeof values === 'function' ? values : callback
    if (isSubmittable(input)) {
      input.callback ||= done
      void this.submit(input)
      return input
    }
    const bound = typeof values === 'function' ? undefined : (values ?? (input as pg.QueryConfig).values)
    const result = this.run(input, bound)
    const own = done ?? (input as { callback?: Callback<pg.QueryResult> }).callback
    if (own === undefined) return result
    callBack(result, own)
    return undefined
  }

  /** One statement, after those sent before it. */
  run(input: QueryInput, values?: readonly unknown[], options: QueryOptions = {}): Promise<pg.QueryResult> {
    return this.#enqueue(() => this.#run(this.#typed(input), values, options))
  }

  /** A cursor or stream, after what was sent before it. Resolves when it has ended, to the error that it was told of, if any. */
  submit(submittable: Submittable): Promise<unknown> {
    const stopWatching = watchForClose(submittable)
    return this.#enqueue(() => this.#submit(submittable, stopWatching)).catch(error => {
      stopWatching()
      process.nextTick(() => submittable.handleError(error, undefined))
      return error
    })
  }

  /**
   * Gives the client back; statements still running are waited for. With an error its connection is closed at once. May be
   * passed on as a function, as the driver's.
   */
  readonly release = (error?: Error | boolean): void => {
    if (this.#released) throw new Error('Release called on client which has already been released to the pool.')
    this.#released = true
    this.#discarded = Boolean(error)
    if (this.#discarded && this.#queued > 0) this.#pinned?.cut()
    this.#tail = this.#tail.then(() => this.#unpin())
    this.#options.onRelease?.(error)
  }

  /** For libraries that treat a pooled client as a connection of their own. */
  async end(callback?: () => void): Promise<void> {
    if (!this.#released) this.release()
    await this.#tail
    callback?.()
  }

  /** Already connected: connections are made when statements need them. */
  async connect(callback?: (error?: Error) => void): Promise<void> {
    callback?.()
  }

  ref(): void {}
  unref(): void {}

  /** For the session cache: kept if the transaction that is open commits. False when none is. */
  keepWhenCommitted(session: Session, key: string, rows: readonly Record<string, unknown>[]): boolean {
    if (this.#pinned?.inTransaction !== true) return false
    this.#pinned.keepWhenCommitted(session, key, rows)
    return true
  }

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

  /** For the statements of this client, wherever they run. A query's own `types` come first. */
  setTypeParser: pg.Client['setTypeParser'] = (...args: unknown[]) => {
    this.#types ??= new this.#options.driver.TypeOverrides()
    ;(this.#types.setTypeParser as (...args: unknown[]) => void)(...args)
  }

  getTypeParser: pg.Client['getTypeParser'] = (...args: unknown[]) =>
    ((this.#types ?? this.#options.driver.types).getTypeParser as (...args: unknown[]) => never)(...args)

  #typed(input: QueryInput): QueryInput {
    if (this.#types === undefined) return input
    return { types: this.#types, ...(typeof input === 'string' ? { text: input } : input) }
  }

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
    const { statements } = this.#options
    const scope = this.#options.scope()
    const classified = statements.classify(typeof input === 'string' ? input : input.text, options)
    if (this.#pinned === undefined) {
      if (!needsPin(classified)) return statements.run(scope, input, values, options)
      await this.#pin(scope, isReadOnlyBegin(classified, options), options)
    }
    const pinned = this.#pinned!
    let sent: Awaited<ReturnType<PinnedConnection['query']>>
    try {
      sent = await pinned.query(input, values, classified, sessionOf(scope), options)
    } finally {
      if (!pinned.tied) this.#unpin()
    }
    const { result, held } = sent
    // The connection has gone back: only the acknowledgement of what was committed is held.
    if (held !== undefined) await statements.executor.acknowledged(held.sessions, held.position, held.policy, options.signal)
    return result
  }

  /** A cursor or stream keeps its portal open across round trips, so the client is tied until it has ended. */
  async #submit(submittable: Submittable, stopWatching: () => boolean): Promise<unknown> {
    const { statements } = this.#options
    const scope = this.#options.scope()
    const text = textOf(submittable)
    const classified = statements.classify(text)
    if (this.#pinned === undefined) await this.#pin(scope, classified.standby, {})
    const pinned = this.#pinned!
    try {
      if (stopWatching()) throw new Error('The cursor was closed before it was sent')
      const error = await pinned.submit(submittable, classified, sessionOf(scope))
      // It cannot be sent again, rows may have been read from it; but the next one of this text goes to the primary.
      if (!pinned.tied && text !== undefined && rerouteReasonOf(error, !pinned.onPrimary) === 'needs-primary')
        statements.classifier.rememberPrimary(text)
      return error
    } finally {
      if (!pinned.tied) this.#unpin()
    }
  }

  /** Ties the client to a connection: of a replica that has what the session needs, or of the primary. */
  async #pin(scope: Scope, mayFollow: boolean, options: QueryOptions): Promise<void> {
    const { statements } = this.#options
    const { executor } = statements
    const { nodes } = executor.context
    if (mayFollow && scope !== 'primary') {
      const { result } = await executor.route(scope, options, async (lease, node, fence) => {
        // Whoever answers there next would have to be asked within the transaction, after its snapshot: too late.
        if (node.balanced && (fence.kind === 'at' || sessionOf(scope)?.guarantee === 'monotonic-reads')) {
          lease.release()
          throw new Reroute('not-caught-up')
        }
        return new PinnedConnection(lease, nodes.get(node)!, statements)
      })
      this.#pinned = result
    } else {
      const { lease, node } = await executor.acquirePrimary(options.signal, sessionOf(scope))
      this.#pinned = new PinnedConnection(lease, nodes.get(node)!, statements)
    }
    const connection: EventEmitter = this.#pinned.lease.connection
    this.#forwarders ??= this.#makeForwarders()
    for (const [event, listener] of this.#forwarders) connection.on(event, listener)
    if (this.#discarded) this.#pinned.cut()
  }

  #unpin(): void {
    const pinned = this.#pinned
    if (pinned === undefined) return
    this.#pinned = undefined
    const connection: EventEmitter = pinned.lease.connection
    for (const [event, listener] of this.#forwarders!) connection.removeListener(event, listener)
    pinned.release(this.#discarded)
  }

  #makeForwarders(): readonly Listener[] {
    const forward = (event: string): Listener => [event, message => this.emit(event, message)]
    // Without a listener an "error" event throws; the statements of a broken connection fail anyway.
    const error: Listener = ['error', message => this.listenerCount('error') > 0 && this.emit('error', message)]
    return [forward('notification'), forward('notice'), forward('end'), error]
  }
}

function sessionOf(scope: Scope) {
  return typeof scope === 'object' ? scope : undefined
}

function needsPin({ statement }: Classified): boolean {
  return statement.kind === 'begin' || statement.kind === 'session' || statement.ties || statement.transactionAfter === 'open'
}

function isReadOnlyBegin({ statement }: Classified, options: QueryOptions): boolean {
  return statement.kind === 'begin' && statement.readOnly && options.on !== 'primary' && statement.hint !== 'primary'
}
