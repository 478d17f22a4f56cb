import { ConfigurationError } from '../core/errors.js'
import type { HttpDatabase, HttpSession, UserId } from './exchange.js'

/** Tells who the request's user is; a function of the framework's own request object. */
export type UserOf<R> = (request: R) => UserId | Promise<UserId>

/** By database, since an application may have several, and request object. */
const sessions = new WeakMap<HttpDatabase, WeakMap<object, HttpSession>>()

export function findSession<S extends HttpSession>(db: HttpDatabase<S>, request: object): S | undefined {
  return sessions.get(db)?.get(request) as S | undefined
}

export function keepSession<S extends HttpSession>(db: HttpDatabase<S>, request: object, session: S): void {
  const known = sessions.get(db)
  if (known === undefined) sessions.set(db, new WeakMap([[request, session]]))
  else known.set(request, session)
}

/** Like {@link findSession}; throws `ConfigurationError` when the middleware has not run for this request. */
export function requireSession<S extends HttpSession>(db: HttpDatabase<S>, request: object): S {
  const session = findSession(db, request)
  if (session !== undefined) return session
  throw new ConfigurationError(
    'this request has no session of this database: put readYourWrites(db) before the handlers that need it',
  )
}
