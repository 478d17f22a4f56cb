import type pg from 'pg'
import type { Driver, QueryInput } from '../driver.js'
import type { Executor, QueryOptions, Scope } from '../executor.js'
import type { PostgresNode } from '../postgres-node.js'
import { RoutedClient } from './routed-client.js'
import { isSubmittable, type Submittable, whenDone } from './submittable.js'

export interface RoutedPoolOptions {
  readonly executor: Executor
  readonly driver: Driver
  readonly nodes: readonly PostgresNode[]
  /** Asked anew for every statement: on whose behalf it runs. */
  readonly scope: () => Scope
  /** What `end()` does: closes the database for `db.pool`, nothing for a session's pool. */
  readonly onEnd: () => Promise<void>
}

type Callback = (error: Error | null | undefined, result?: pg.QueryResult) => void
type ConnectCallback = (error: Error | undefined, client: unknown, release: (error?: Error | boolean) => void) => void

/**
 * A `pg.Pool` to everybody who takes one: `instanceof` holds, promises and callbacks, events and counts. It has no
 * connections of its own; the counts and events are those of the nodes' pools taken together. Unlike a plain pool,
 * `connect()` succeeds although no server can be reached: the first statement then fails instead.
 */
export type RoutedPool = pg.Pool

/** A class made at run time, since the driver is an optional peer that is loaded lazily. */
export function createRoutedPool(options: RoutedPoolOptions): RoutedPool {
  const { executor, driver, nodes, scope } = options
  const sum = (count: (pool: pg.Pool) => number) => nodes.reduce((total, { pool }) => total + count(pool), 0)

  class TidemarkPool extends driver.Pool {
    // The driver's declarations have one overload for each way to call; these implement them all.
    override connect(): Promise<pg.PoolClient>
    override connect(
      callback: (err: Error | undefined, client: pg.PoolClient | undefined, done: (release?: unknown) => void) => void,
    ): void
    override connect(callback?: unknown): Promise<pg.PoolClient> | undefined {
      const client = this.#checkOut()
      if (typeof callback !== 'function')
        return client instanceof Error ? Promise.reject(client) : Promise.resolve(client as never)
      const call = callback as ConnectCallback
      process.nextTick(() => {
        if (client instanceof Error) call(client, undefined, () => {})
        else call(undefined, client, error => client.release(error))
      })
      return undefined
    }

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
      if (typeof input === 'function')
        throw new TypeError('Passing a function as the first parameter to pool.query is not supported')
      if (isSubmittable(input)) return this.#stream(input)
      const done = (typeof values === 'function' ? values : callback) as Callback | undefined
      const bound =
        typeof values === 'function'
          ? undefined
          : ((values as readonly unknown[] | undefined) ?? (input as pg.QueryConfig)?.values)
      const result = this.ending ? Promise.reject(ENDED()) : run(input, bound)
      if (done === undefined) return result
      result.then(
        answer => done(undefined, answer),
        error => done(error),
      )
      return undefined
    }

    #stream(submittable: Submittable): Submittable {
      const client = this.#checkOut()
      if (client instanceof Error) process.nextTick(() => submittable.handleError(client, undefined))
      else {
        void whenDone(submittable).then(() => client.release())
        client.query(submittable)
      }
      return submittable
    }

    #checkOut(): RoutedClient | Error {
      if (this.ending) return ENDED()
      const client = new RoutedClient({
        executor,
        driver,
        scope,
        onRelease: error => this.emit('release', error as Error, client as never),
      })
      this.emit('acquire', client as never)
      return client
    }
  }

  async function run(
    input: QueryInput,
    values: readonly unknown[] | undefined,
    queryOptions?: QueryOptions,
  ): Promise<pg.QueryResult> {
    if (input == null) throw new TypeError('Client was passed a null or undefined query')
    return executor.run(scope(), input, values, queryOptions)
  }

  const pool = new TidemarkPool({ max: sum(({ options: { max } }) => max) })
  Object.defineProperties(pool, {
    totalCount: { get: () => sum(each => each.totalCount) },
    idleCount: { get: () => sum(each => each.idleCount) },
    waitingCount: { get: () => sum(each => each.waitingCount) },
  })
  for (const node of nodes) {
    if (!node.owned) continue
    node.pool.on('connect', client => pool.emit('connect', client))
    node.pool.on('remove', client => pool.emit('remove', client))
    // Without a listener an "error" event throws; a broken idle connection is replaced without anybody's help.
    node.pool.on('error', (error, client) => pool.listenerCount('error') > 0 && pool.emit('error', error, client))
  }
  return pool
}

const ENDED = () => new Error('Cannot use a pool after calling end on the pool')
