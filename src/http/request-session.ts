import { ConfigurationError } from '../core/errors.js'
import type { HttpDatabase, HttpSession, UserId } from './exchange.js'

/** Tells who the request's user is; a function of the framework's own request object. */
export type UserOf<R> = (request: R) => UserId | Promise<UserId>

const sessions = new WeakMap<object, Map<HttpDatabase, HttpSession>>()

/** The session of a request object, by database: an application may have several. */
export function findSession<S extends HttpSession>(db: HttpDatabase<S>, request: object): S | undefined {
  return sessions.get(request)?.get(db) as S | undefined
}

export function keepSession<S extends HttpSession>(db: HttpDatabase<S>, request: object, session: S): void {
  const known = sessions.get(request) ?? new Map<HttpDatabase, HttpSession>()
  sessions.set(request, known.set(db, session))
}

/** Like {@link findSession}; throws `ConfigurationError` when the middleware has not run for this request. */
export function requireSession<S extends HttpSession>(db: HttpDatabase<S>, request: object): S {
  const session = findSession(db, request)
  if (session !== undefined) return session
  throw new ConfigurationError(
    'this request has no session of this database: put readYourWrites(db) before the handlers that need it',
  )
}
