import type { ErrorRequestHandler, Request, RequestHandler } from 'express'
import type { HttpDatabase, HttpSession } from './exchange.js'
import { continueWithin, type NodeOptions, nodeExchange } from './node-exchange.js'
import { requireSession } from './request-session.js'
import { retryLater } from './retry-later.js'

/**
 * Express middleware: a session is in scope for everything behind it. Put it after authentication when `user` is given.
 * An error from `user` goes to the error handlers.
 *
 * ```ts
 * app.use(readYourWrites(db, { user: req => req.user?.id }))
 * ```
 */
export function readYourWrites<S extends HttpSession>(db: HttpDatabase<S>, options: NodeOptions<Request> = {}): RequestHandler {
  const open = nodeExchange(db, options)
  return (req, res, next) => {
    void continueWithin(() => open(req, res, req, req.secure), next)
  }
}

/** The session of a request. Throws `ConfigurationError` when the request did not pass {@link readYourWrites}. */
export function sessionOf<S extends HttpSession>(db: HttpDatabase<S>, req: Request): S {
  return requireSession(db, req)
}

/** Error handler, to be used after the routes: a `NotReadyError` is answered with 503 and `Retry-After`; others pass. */
export const notReadyHandler: ErrorRequestHandler = (error, _req, _res, next) => {
  next(retryLater(error))
}
