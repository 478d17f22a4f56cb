/**
 * Capturing the position of a commit (rule 2).
 *
 * The question is asked *behind* the write in the same pipeline, each with its own Sync: the server takes it up only
 * after the write's implicit transaction (or the COMMIT) has ended, so the position includes the commit record. Asked
 * before, or within the same transaction, it could name a position in front of that record.
 *
 * `pg_current_wal_insert_lsn()` and not the flush position: under `synchronous_commit = off`, also when only that one
 * transaction set it, COMMIT returns before its record is flushed, and the flush position lies in front of it.
 */
import type pg from 'pg'
import { Position } from '../../core/position.js'
import type { Lease } from './connections.js'
import { type Answer, type Connection, pipelined, type QueryCallback, type QueryInput, send } from './driver.js'
import { endOfLastRecord, parseLsn } from './lsn.js'

const NAME = 'tidemark_capture'
const TEXT = 'SELECT pg_current_wal_insert_lsn()'

/** What came back: the text of an LSN, or nothing usable. */
export type Captured = string | undefined

/** The position after everything that this connection has committed; `undefined` when it could not be had. */
export function capturedPosition(captured: Captured, lease: Lease): Position | undefined {
  if (captured === undefined || lease.writes === undefined) return undefined
  try {
    return Position.at(lease.writes, endOfLastRecord(parseLsn(captured), lease.identity))
  } catch {
    return undefined
  }
}

/** Asks on a connection that pipelines, behind whatever was sent on it before. Calls back once, with what came back. */
export function sendCapture(connection: Connection, callback: (captured: Captured) => void): void {
  const Query = (connection.constructor as unknown as { readonly Query?: QueryClass }).Query
  if (connection.pipeline !== true || Query === undefined) {
    const config = { name: NAME, text: TEXT, rowMode: 'array' as const }
    connection.query(config, (error: Error | null, result: pg.QueryArrayResult) =>
      callback(error ? undefined : textIn(result?.rows[0]?.[0])),
    )
    return
  }
  connection.query(new (leanQueryOf(Query))(callback) as unknown as pg.Submittable)
}

type QueryClass = abstract new (...args: never[]) => object

/** What the driver's connection offers to its queries. */
interface WireConnection {
  readonly stream: { write(bytes: Uint8Array): boolean }
  readonly parsedStatements: Record<string, string | undefined>
  readonly submittedNamedStatements: Record<string, string | undefined>
  parse(message: { name: string; text: string; types: undefined }): void
}

/** Bind (no parameters, text result), Execute and Sync, as in the manual's "Message Formats". */
const BIND_EXECUTE_SYNC = Buffer.concat([
  message('B', Buffer.from(`\0${NAME}\0`), Buffer.alloc(6)),
  message('E', Buffer.alloc(1), Buffer.alloc(4)),
  message('S'),
])

function message(type: string, ...parts: readonly Buffer[]): Buffer {
  const head = Buffer.from(`${type}....`)
  head.writeInt32BE(4 + parts.reduce((sum, part) => sum + part.length, 0), 1)
  return Buffer.concat([head, ...parts])
}

type LeanQuery = new (callback: (captured: Captured) => void) => object
const leanQueries = new WeakMap<QueryClass, LeanQuery>()

/**
 * A query object of the driver without what a captured position has no use for (row description, result object, events):
 * it rides behind every write, so its cost is the cost of capturing. The driver pipelines only what is `instanceof` its
 * own Query class, of which there may be several copies; hence one lean class for each.
 */
function leanQueryOf(Query: QueryClass): LeanQuery {
  const known = leanQueries.get(Query)
  if (known !== undefined) return known
  class Lean {
    readonly name = NAME
    readonly text = TEXT
    callback: (error?: unknown) => void
    #captured: Captured
    constructor(callback: (captured: Captured) => void) {
      // Named first: assigned as it is written down, it would be made in the old generation (see beforeHeaders in http).
      const settle = (error?: unknown) => callback(error ? undefined : this.#captured)
      this.callback = settle
    }
    submit(connection: WireConnection): null {
      if (connection.parsedStatements[NAME] === undefined && connection.submittedNamedStatements[NAME] === undefined) {
        connection.parse({ name: NAME, text: TEXT, types: undefined })
        connection.submittedNamedStatements[NAME] = TEXT
      }
      connection.stream.write(BIND_EXECUTE_SYNC)
      return null
    }
    handleDataRow(row: { readonly fields: readonly unknown[] }): void {
      this.#captured = textIn(row.fields[0])
    }
    handleRowDescription(): void {}
    handleCommandComplete(): void {}
    handleReadyForQuery(): void {
      this.callback()
    }
    handleError(error: unknown): void {
      this.callback(error)
    }
  }
  Object.setPrototypeOf(Lean.prototype, Query.prototype as object)
  leanQueries.set(Query, Lean)
  return Lean
}

function textIn(value: unknown): Captured {
  return typeof value === 'string' ? value : undefined
}

/**
 * Sends a statement with the question for its position behind it. Calls back once, with both answers. A driver that
 * cannot pipeline is asked in a second round trip, which is as correct.
 */
export function sendWithCapture(
  connection: Connection,
  input: QueryInput,
  values: readonly unknown[] | undefined,
  callback: (answer: Answer, captured: Captured) => void,
): void {
  const wasPipelined = connection.pipeline
  let answer: Answer | undefined
  const answered: QueryCallback = (error, result) => {
    // The driver may call back twice when it cannot serialise a value.
    answer ??= error ? { error } : { result }
    if (wasPipelined === undefined) sendCapture(connection, captured => callback(answer!, captured))
  }
  if (wasPipelined === undefined) {
    send(connection, input, values, answered)
    return
  }
  pipelined(connection, () => {
    send(connection, input, values, answered)
    sendCapture(connection, captured => {
      if (!wasPipelined) connection.pipeline = false
      // A connection that broke fails both, in order.
      callback(answer ?? { error: new Error('the statement was not answered') }, captured)
    })
  })
}

/**
 * Sends a statement; with the question for its position behind it if `capture` is true. Resolves, also when it failed, to what
 * `seen` makes of the answers.
 */
export function sendStatement<T>(
  lease: Lease,
  input: QueryInput,
  values: readonly unknown[] | undefined,
  capture: boolean,
  seen: (answer: Answer, captured: Captured) => T,
): Promise<T> {
  return new Promise(resolve => {
    if (capture) sendWithCapture(lease.connection, input, values, (answer, captured) => resolve(seen(answer, captured)))
    else send(lease.connection, input, values, (error, result) => resolve(seen(error ? { error } : { result }, undefined)))
  })
}
