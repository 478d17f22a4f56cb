import type { Connection } from '../driver.js'
import { isServerError } from '../driver-errors.js'

/** What `pg-cursor`, `pg-query-stream`, `pg-copy-streams` and the driver's own `Query` have in common. */
export interface Submittable {
  submit(connection: unknown): unknown
  handleError(error: unknown, connection: unknown): void
  handleReadyForQuery(connection: unknown): void
  /** The driver sets it when `query` was given one; not all kinds call it. */
  callback?: unknown
  readonly text?: unknown
  /** A query stream has a cursor inside. */
  readonly cursor?: { readonly text?: unknown } | undefined
}

export function isSubmittable(input: unknown): input is Submittable {
  return typeof input === 'object' && input !== null && typeof (input as Submittable).submit === 'function'
}

/** The SQL of a submittable, or `undefined` when it does not show it; then only the primary will do. */
export function textOf(submittable: Submittable): string | undefined {
  const text = submittable.text ?? submittable.cursor?.text
  return typeof text === 'string' ? text : undefined
}

/** The server is done with a submittable. */
export interface Ending {
  /** What the submittable was told went wrong. */
  readonly error?: unknown
  /** Tells the submittable that it has ended, which tells the application. Once; does nothing after an error. */
  tell(): void
}

/**
 * Sends a submittable and resolves when the server is done with it; `onReady` is called at that very moment. Listens by
 * wrapping the two methods by which the driver tells it; nothing else tells for all kinds of them.
 */
export async function sendSubmittable(connection: Connection, submittable: Submittable, onReady: () => void): Promise<Ending> {
  const wasPipelined = connection.pipeline
  const { handleError, handleReadyForQuery } = submittable
  const ending = new Promise<Ending>(resolve => {
    submittable.handleReadyForQuery = (...args) => {
      onReady()
      resolve({ tell: () => handleReadyForQuery.apply(submittable, args) })
    }
    submittable.handleError = (...args) => {
      whenSettled(connection, args[0], () => resolve({ error: args[0], tell: () => {} }))
      handleError.apply(submittable, args)
    }
  })
  // The driver refuses on a pipelined connection what keeps a portal open across round trips.
  if (wasPipelined) connection.pipeline = false
  try {
    ;(connection.query as (submittable: Submittable) => void).call(connection, submittable)
    return await ending
  } finally {
    if (wasPipelined) connection.pipeline = true
  }
}

/**
 * An error is told before the server has said in which transaction state it leaves the connection. Must be called by the
 * one who is told the error, at once; calls back when the state is known.
 */
export function whenSettled(connection: Connection, error: unknown, callback: () => void): void {
  if (!isServerError(error)) {
    callback()
    return
  }
  const settled = () => {
    connection.removeListener('drain', settled)
    connection.removeListener('end', settled)
    callback()
  }
  connection.on('drain', settled)
  connection.on('end', settled)
}

interface Closeable {
  close?: (...args: unknown[]) => unknown
}

/**
 * Watches a cursor until it is sent. One that is closed before has done nothing yet and does not remember that it was
 * closed: sent nevertheless, it would open a portal that nobody closes. The answer ends the watch.
 */
export function watchForClose(submittable: Submittable): () => boolean {
  const cursor = (submittable.cursor ?? submittable) as Closeable
  const { close } = cursor
  if (close === undefined) return () => false
  let closed = false
  cursor.close = (...args) => {
    closed = true
    return close.apply(cursor, args)
  }
  return () => {
    cursor.close = close
    return closed
  }
}
