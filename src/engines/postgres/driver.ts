import type pg from 'pg'
import { MissingPeerError } from '../../core/errors.js'

/** The `pg` module. */
export type Driver = typeof pg

/** Loads `pg`, an optional peer. Throws {@link MissingPeerError} when it is not installed. */
export async function loadDriver(): Promise<Driver> {
  try {
    return (await import('pg')).default
  } catch (cause) {
    throw new MissingPeerError('pg', 'tidemark/postgres', { cause })
  }
}

/** A client of a pool, with what the driver has and its types leave out. */
export type Connection = pg.PoolClient & {
  /** Whether queries are sent without waiting for the answers before them. Absent before pg 8.21. */
  pipeline?: boolean
  /** `I` idle, `T` in a transaction, `E` in a failed one; `null` before the first answer. */
  getTransactionStatus?(): 'I' | 'T' | 'E' | null
  processID?: number
  readonly connection?: {
    readonly stream?: { cork?(): void; uncork?(): void; destroy(): void }
    /** Text by name: of statements that the server has prepared, and of those that it has not said so of yet. */
    readonly parsedStatements?: Record<string, string | undefined>
    readonly submittedNamedStatements?: Record<string, string | undefined>
    close?(message: { type: 'S'; name: string }): void
  }
}

export type QueryCallback = (error: Error | null | undefined, result: pg.QueryResult) => void

/** What an application passes to `query`. */
export type QueryInput = string | pg.QueryConfig | pg.QueryArrayConfig

/**
 * The driver's callback form, whose many overloads are of no use to a forwarder. Calls back exactly once: the driver does
 * so twice for a value that it cannot serialise, and throws for some inputs instead of calling back.
 */
export function send(
  connection: Connection,
  input: QueryInput,
  values: readonly unknown[] | undefined,
  callback: QueryCallback,
): void {
  let called = false
  let sending = true
  const name = typeof input === 'string' ? undefined : input.name
  const once: QueryCallback = (error, result) => {
    if (called) return
    called = true
    // It could not serialise a value, and has closed the statement.
    if (sending && name) delete connection.connection?.parsedStatements?.[name]
    callback(error, result)
  }
  const query = connection.query as (input: unknown, values?: unknown, callback?: QueryCallback) => void
  try {
    if (name) prepareUnlessPrepared(connection, name, input)
    const prepared = preparedQuery(connection, input, values, once)
    if (prepared === undefined) query.call(connection, input, values, once)
    else query.call(connection, prepared)
  } catch (error) {
    process.nextTick(once, error as Error)
  }
  sending = false
}

type QueryClass = new (text: string, values: unknown, callback: QueryCallback) => { name: string }

/**
 * The driver's own query object for a named statement. From a configuration the driver would make the same, but it copies that by the
 * descriptors of its properties, which takes longer than all else that it does for a small statement. `undefined` when more than text,
 * name and values is configured, or it is not plain text: that is the driver's to read.
 */
function preparedQuery(connection: Connection, input: QueryInput, values: unknown, callback: QueryCallback): object | undefined {
  const Query = (connection.constructor as unknown as { readonly Query?: QueryClass }).Query
  if (typeof input === 'string' || Query === undefined) return undefined
  const { name, text } = input
  if (typeof name !== 'string' || name === '' || typeof text !== 'string') return undefined
  for (const key in input) if (key !== 'name' && key !== 'text' && key !== 'values') return undefined
  const query = new Query(text, values || input.values, callback)
  query.name = name
  return query
}

/**
 * The driver does not prepare a named statement again that it has sent and has no answer for. Should the server refuse that one
 * (or the driver itself close it), whatever is pipelined behind it would fail for there being no such statement. So it is
 * closed, which is no error if it does not exist, and prepared anew.
 */
function prepareUnlessPrepared({ connection: wire }: Connection, name: string, input: QueryInput): void {
  const submitted = wire?.submittedNamedStatements
  if (submitted?.[name] === undefined || wire?.parsedStatements?.[name] !== undefined || wire?.close === undefined) return
  // Another text by that name is the driver's to refuse.
  if (submitted[name] !== (input as pg.QueryConfig).text) return
  delete submitted[name]
  wire.close({ type: 'S', name })
}

/**
 * Sends several statements in one go, each with its own Sync, and calls back with all answers. The second one runs
 * after the first has ended, committed if it was an autocommit statement, and they share a round trip.
 */
export function sendTogether(
  connection: Connection,
  statements: readonly (readonly [QueryInput, (readonly unknown[] | undefined)?])[],
  callback: (answers: readonly Answer[]) => void,
): void {
  const answers: Answer[] = new Array(statements.length)
  let left = statements.length
  const wasPipelined = connection.pipeline
  const settle = (index: number, error: Error | null | undefined, result: pg.QueryResult) => {
    // The driver may call back twice when it cannot serialise a value.
    if (answers[index] !== undefined) return
    answers[index] = error ? { error } : { result }
    if (--left > 0) return
    if (wasPipelined === false) connection.pipeline = false
    callback(answers)
  }
  if (wasPipelined === undefined) {
    sendInTurn(connection, statements, settle)
    return
  }
  pipelined(connection, () => {
    statements.forEach(([input, values], index) => {
      send(connection, input, values, (error, result) => settle(index, error, result))
    })
  })
}

/** Puts what is sent on a connection until the event loop comes round into one write to the socket; `written` is called then. */
export function batchWrites(connection: Connection, written?: () => void): void {
  const stream = connection.connection?.stream
  stream?.cork?.()
  // Not a tick: statements are sent from promises, which come after ticks.
  setImmediate(() => {
    stream?.uncork?.()
    written?.()
  })
}

/** Pipelines what `sendAll` sends and puts it into one write to the socket. */
export function pipelined(connection: Connection, sendAll: () => void): void {
  const stream = connection.connection?.stream
  connection.pipeline = true
  stream?.cork?.()
  try {
    sendAll()
  } finally {
    stream?.uncork?.()
  }
}

export type Answer =
  | { readonly error: Error; readonly result?: undefined }
  | { readonly result: pg.QueryResult; readonly error?: undefined }

/** For a driver that cannot pipeline: correct, at a round trip each. */
function sendInTurn(
  connection: Connection,
  statements: readonly (readonly [QueryInput, (readonly unknown[] | undefined)?])[],
  settle: (index: number, error: Error | null | undefined, result: pg.QueryResult) => void,
  index = 0,
): void {
  const statement = statements[index]
  if (statement === undefined) return
  send(connection, statement[0], statement[1], (error, result) => {
    settle(index, error, result)
    sendInTurn(connection, statements, settle, index + 1)
  })
}

/** Cuts the socket: pending and later queries fail at once. */
export function destroy(client: pg.ClientBase): void {
  ;(client as Connection).connection?.stream?.destroy()
}
