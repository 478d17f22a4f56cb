import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { HttpDatabase, HttpSession } from './exchange.js'
import { type NodeOptions, nodeExchange } from './node-exchange.js'
import { requireSession } from './request-session.js'

export type { NodeOptions } from './node-exchange.js'

/**
 * Wraps a listener of `node:http`, `node:https` or the compatibility API of `node:http2`: a session is in scope while it
 * runs, also in the events of its request.
 *
 * ```ts
 * createServer(readYourWrites(db)(async (req, res) => { … }))
 * ```
 *
 * What `user` or the listener throws comes back as a rejection, as with any async listener.
 */
export function readYourWrites<S extends HttpSession>(
  db: HttpDatabase<S>,
  options: NodeOptions<IncomingMessage> = {},
): (handler: (req: IncomingMessage, res: ServerResponse) => unknown) => RequestListener {
  const open = nodeExchange(db, options)
  return handler => async (req, res) => {
    const opened = open(req, res, req, 'encrypted' in req.socket)
    const session = opened instanceof Promise ? await opened : opened
    await session.run(() => handler(req, res))
  }
}

/** The session of a request. Throws `ConfigurationError` when the request did not pass {@link readYourWrites}. */
export function sessionOf<S extends HttpSession>(db: HttpDatabase<S>, req: IncomingMessage): S {
  return requireSession(db, req)
}
