import type pg from 'pg'
import type { Scope } from '../../../core/execution/execution-context.js'
import type { Driver, QueryInput } from '../driver.js'
import type { PostgresNode } from '../postgres-node.js'
import type { Statements } from '../statements.js'
import { type Callback, callBack } from './callback.js'
import { RoutedClient } from './routed-client.js'
import { isSubmittable, type Submittable } from './submittable.js'

export interface RoutedPoolOptions {
  readonly statements: Statements
  readonly driver: Driver
  readonly nodes: readonly PostgresNode[]
  /** Asked anew for every statement: on whose behalf it runs. */
  readonly scope: () => Scope
  /** What `end()` does: closes the database for `db.pool`, nothing for a session's pool. */
  readonly onEnd: () => Promise<void>
  /** Passes on what the nodes' pools say of their connections. Not for a session's pool: those outlive it. */
  readonly forwards: boolean
}

type ConnectCallback = (error: Error | undefined, client: unknown, release: RoutedClient['release']) => void

/**
 * A `pg.Pool` to everybody who takes one: `instanceof` holds, promises and callbacks, events and counts. It has no
 * connections of its own; the counts are those of the nodes' pools taken together, and so are the events `connect`,
 * `remove` and `error`, save on a session's pool, which does not have them. Unlike a plain pool, `connect()` succeeds
 * although no server can be reached: the first statement then fails instead.
 */
export type RoutedPool = pg.Pool

/** A class made at run time, since the driver is an optional peer that is loaded lazily. */
export function createRoutedPool(options: RoutedPoolOptions): RoutedPool {
  const { statements, driver, nodes, scope } = options
  const sum = (count: (pool: pg.Pool) => number) => nodes.reduce((total, { pool }) => total + count(pool), 0)

  class TidemarkPool extends driver.Pool {
    // The driver's declarations have one overload for each way to call; these implement them all.
    override connect(): Promise<pg.PoolClient>
    override connect(
      callback: (err: Error | undefined, client: pg.PoolClient | undefined, done: (release?: unknown) => void) => void,
    ): void
    override connect(callback?: unknown): Promise<pg.PoolClient> | undefined {
      if (typeof callback !== 'function') return this.#connect() as Promise<never>
      this.#connect().then(
        client => process.nextTick(callback as ConnectCallback, undefined, client, client.release),
        error => process.nextTick(callback as ConnectCallback, error, undefined, () => {}),
      )
      return undefined
    }

    async #connect(): Promise<RoutedClient> {
      if (this.ending) throw ENDED()
      return this.#checkOut()
    }

    /** As the driver's pool: a submittable gives a promise of its end (not the submittable, as the driver's types have it). */
    override query(input: unknown, values?: unknown, callback?: unknown): never {
      return this.#query(input as QueryInput | Submittable, values, callback) as never
    }

    override end(): Promise<void>
    override end(callback: () => void): void
    override end(callback?: () => void): Promise<void> | undefined {
      if (this.ending) {
        const error = new Error('Called end on pool more than once')
        if (callback === undefined) return Promise.reject(error)
        process.nextTick(callback as (error: Error) => void, error)
        return undefined
      }
      Object.assign(this, { ending: true })
      const ended = options.onEnd().then(() => {
        Object.assign(this, { ended: true })
      })
      if (callback === undefined) return ended
      ended.then(() => callback(), callback)
      return undefined
    }

    #query(input: QueryInput | Submittable, values: unknown, callback: unknown): unknown {
      const done = [input, values, callback].find(each => typeof each === 'function') as Callback<unknown> | undefined
      const bound = typeof values === 'function' ? undefined : (values as readonly unknown[] | undefined)
      const result = isSubmittable(input) ? this.#submit(input) : this.#run(input, bound)
      if (done === undefined) return result
      callBack(result, done)
      return undefined
    }

    async #run(input: QueryInput, values: readonly unknown[] | undefined): Promise<pg.QueryResult> {
      if (typeof input === 'function')
        throw new TypeError('Passing a function as the first parameter to pool.query is not supported')
      if (input == null) throw new TypeError('Client was passed a null or undefined query')
      if (this.ending) throw ENDED()
      const bound = values ?? (input as pg.QueryConfig).values
      if (this.listenerCount('acquire') + this.listenerCount('release') === 0) return statements.run(scope(), input, bound)
      const client = this.#checkOut()
      try {
        return await statements.run(scope(), input, bound)
      } finally {
        client.release()
      }
    }

    #submit(submittable: Submittable): Promise<unknown> {
      let result: unknown
      submittable.callback ||= (_: unknown, answer: unknown) => {
        result = answer
      }
      const ended = this.#submitted(submittable).then(error => {
        if (error !== undefined) throw error
        return result
      })
      // A stream tells its reader of the error; whoever does not look at the promise need not hear of it twice.
      ended.catch(() => {})
      return ended
    }

    async #submitted(submittable: Submittable): Promise<unknown> {
      if (this.ending) {
        const error = ENDED()
        process.nextTick(() => submittable.handleError(error, undefined))
        return error
      }
      const client = this.#checkOut()
      const error = await client.submit(submittable)
      client.release()
      return error
    }

    #checkOut(): RoutedClient {
      const client: RoutedClient = new RoutedClient({
        statements,
        driver,
        scope,
        onRelease: error => this.emit('release', error as Error, client as never),
      })
      this.emit('acquire', client as never)
      return client
    }
  }

  const pool = new TidemarkPool({ max: sum(({ options: { max } }) => max) })
  Object.defineProperties(pool, {
    totalCount: { get: () => sum(each => each.totalCount) },
    idleCount: { get: () => nodes.reduce((total, node) => total + node.idleCount, 0) },
    waitingCount: { get: () => sum(each => each.waitingCount) },
  })
  for (const node of nodes) {
    if (!node.owned || !options.forwards) continue
    node.pool.on('connect', client => pool.emit('connect', client))
    node.pool.on('remove', client => pool.emit('remove', client))
    // Without a listener an "error" event throws; a broken idle connection is replaced without anybody's help.
    node.pool.on('error', (error, client) => pool.listenerCount('error') > 0 && pool.emit('error', error, client))
  }
  return pool
}

const ENDED = () => new Error('Cannot use a pool after calling end on the pool')
