/**
 * The canary: in production, a write now and then, and its read-back through every path of the database, so that a guarantee that
 * does not hold is known by the error budget before users know.
 *
 * It can tell what a read should have seen since it has its row to itself: no other process writes there, and it awaits each of its
 * writes before it reads. A number that is less than the one written last is a missed write, whatever the router believes.
 */

import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { checkNumber } from '../../core/check-number.js'
import type { Clock, Timer } from '../../core/clock.js'
import { publish } from '../../core/events.js'
import { type Ladder, primary } from '../../core/ladder.js'
import { only } from '../../core/only.js'
import { NotAppliedError } from '../../core/write-policy.js'
import { type CanaryTable, canaryTable } from './canary-table.js'
import type { PostgresSession } from './session.js'

export interface CanaryOptions {
  /** Between the beginnings of two rounds, one write each. At least 100. Default 10 000. */
  readonly everyMs?: number
  /** What a round has not been answered by then counts as failed. At least 10. Default 5 000. */
  readonly timeoutMs?: number
  /** A name, or `schema.name`. Default `tidemark_canary`. */
  readonly table?: string
  /** Whether to create the table if it is not there. Default true. */
  readonly create?: boolean
}

export const CANARY_DEFAULTS = Object.freeze({ everyMs: 10_000, timeoutMs: 5_000, table: 'tidemark_canary', create: true })

/** A canary that is at work. */
export interface Canary extends AsyncDisposable {
  /** Ends it and removes its row, within a second or two. Never rejects. Idempotent; `db.close()` does it as well. */
  stop(): Promise<void>
}

/** What a canary needs of its database. */
export interface CanaryHost {
  /** The database's, in events. */
  readonly name: string
  readonly clock: Clock
  /** One whose reads are not taken for the application's: they wait on purpose, and would burn its budget for that. */
  session(): PostgresSession
  /** The replicas that can be used, by name. Not what hides behind a balanced address: no read can be sent to one of those. */
  replicas(): readonly string[]
  /** A table that has just been made is known from then on. */
  refreshCatalog(): Promise<void>
  warn(message: string, cause?: unknown): void
  ended(canary: PostgresCanary): void
}

const STOP_MS = 1_000

export class PostgresCanary implements Canary {
  readonly #host: CanaryHost
  readonly #table: CanaryTable
  readonly #everyMs: number
  readonly #timeoutMs: number
  readonly #create: boolean
  /** Of this canary alone. */
  readonly #id = `${hostname()} ${process.pid} ${randomBytes(6).toString('hex')}`
  readonly #stopping = new AbortController()
  #written = 0
  #ready = false
  #warned = false
  #timer: Timer | undefined
  #running: Promise<void> = Promise.resolve()
  #stopped: Promise<void> | undefined

  /** Begins at once. Throws `ConfigurationError` when an option cannot work. */
  constructor(host: CanaryHost, options: CanaryOptions) {
    const { everyMs, timeoutMs, table, create } = { ...CANARY_DEFAULTS, ...options }
    checkNumber('canary: everyMs', everyMs, { min: 100 })
    checkNumber('canary: timeoutMs', timeoutMs, { min: 10 })
    this.#host = host
    this.#table = canaryTable(table)
    this.#everyMs = everyMs
    this.#timeoutMs = timeoutMs
    this.#create = create
    this.#begin()
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#end()
    return this.#stopped
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  /** A round, and the next one when its time has come and this one has ended: never two at a time. */
  #begin(): void {
    const { clock } = this.#host
    const startedAt = clock.now()
    this.#running = this.#round().then(() => {
      if (this.#stopped !== undefined) return
      this.#timer = clock.setTimer(() => this.#begin(), Math.max(0, this.#everyMs - (clock.now() - startedAt)))
    })
  }

  /** Never rejects. */
  async #round(): Promise<void> {
    const signal = AbortSignal.any([AbortSignal.timeout(this.#timeoutMs), this.#stopping.signal])
    const startedAt = this.#host.clock.now()
    try {
      await this.#setUp(signal)
      const session = this.#host.session()
      const written = ++this.#written
      await session.query(this.#table.write, [this.#id, written], { signal, cache: this.#id }).catch((error: unknown) => {
        // It is committed, which is all that a read-back needs.
        if (!(error instanceof NotAppliedError)) throw error
      })
      const writtenAt = this.#host.clock.now()
      await Promise.all(this.#paths().map(path => this.#readBack(path, session.fork(), written, writtenAt, signal)))
    } catch (error) {
      this.#failed('write', startedAt, error)
    }
  }

  #paths(): readonly CanaryPath[] {
    return [
      { name: 'ladder', ladder: undefined },
      { name: 'primary', ladder: [primary()] },
      ...this.#host.replicas().map(replica => ({ name: `replica ${replica}`, replica, ladder: only(replica, this.#timeoutMs) })),
    ]
  }

  /** Never rejects. */
  async #readBack(
    { name, ladder, replica }: CanaryPath,
    session: PostgresSession,
    written: number,
    writtenAt: number,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock } = this.#host
    const startedAt = clock.now()
    try {
      // The session cache, where the ladder has one, is a part of that path, and of no other.
      const cache = ladder === undefined ? this.#id : undefined
      const { rows } = await session.query<{ n: string }>(this.#table.read, [this.#id], { ladder, signal, cache })
      const { node, guarantee, possiblyLost } = session.lastOutcome!
      if (possiblyLost) throw new Error('the write is possibly lost in a failover, and the answer said so')
      if (replica !== undefined && node !== replica) throw new Error(`${node} served it`)
      const misses = Number(rows[0]?.n ?? 0) < written
      const waitedMs = clock.now() - startedAt
      publish('tidemark:canary', () => ({
        db: this.#host.name,
        path: name,
        // A rung that the ladder's author chose may give less, and its answer says so.
        violated: misses && guarantee !== 'eventual',
        waitedMs,
        ...(replica !== undefined && !misses && { lagMs: clock.now() - writtenAt }),
      }))
    } catch (error) {
      this.#failed(name, startedAt, error)
    }
  }

  #failed(path: string, startedAt: number, error: unknown): void {
    // What stopping has broken off is no failure.
    if (this.#stopping.signal.aborted) return
    const waitedMs = this.#host.clock.now() - startedAt
    const failed = error instanceof Error ? error.message || error.name : String(error)
    publish('tidemark:canary', () => ({ db: this.#host.name, path, violated: false, waitedMs, failed }))
  }

  async #setUp(signal: AbortSignal): Promise<void> {
    if (this.#ready) return
    const session = this.#host.session()
    try {
      if (this.#create) await session.query(this.#table.create, [], { signal })
      await this.#host.refreshCatalog()
      await session.query(this.#table.prune, [], { signal })
      this.#ready = true
    } catch (error) {
      if (!this.#warned && !signal.aborted) this.#host.warn(this.#table.advice(error), error)
      this.#warned = true
      throw error
    }
  }

  async #end(): Promise<void> {
    this.#stopping.abort(new Error('the canary was stopped'))
    this.#timer?.cancel()
    await this.#running
    if (this.#written > 0) {
      const signal = AbortSignal.timeout(STOP_MS)
      // If that fails, another canary's start prunes it.
      await this.#host
        .session()
        .query(this.#table.remove, [this.#id], { signal })
        .catch(() => {})
    }
    this.#host.ended(this)
  }
}

interface CanaryPath {
  readonly name: string
  /** `undefined`: the database's own. */
  readonly ladder: Ladder | undefined
  /** The only one that may serve. */
  readonly replica?: string
}
