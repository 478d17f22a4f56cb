import type { Context, Middleware } from 'koa'
import type { HttpDatabase, HttpSession } from './exchange.js'
import { type NodeOptions, nodeExchange } from './node-exchange.js'
import { requireSession } from './request-session.js'
import { retryLater } from './retry-later.js'

/**
 * Koa middleware: a session is in scope for everything behind it. Put it after authentication when `user` is given.
 * A `NotReadyError` is answered with 503 and `Retry-After`.
 *
 * ```ts
 * app.use(readYourWrites(db, { user: ctx => ctx.state.user?.id }))
 * ```
 */
export function readYourWrites<S extends HttpSession>(db: HttpDatabase<S>, options: NodeOptions<Context> = {}): Middleware {
  const open = nodeExchange(db, options)
  return async (ctx, next) => {
    const session = await open(ctx.req, ctx.res, ctx, ctx.secure)
    try {
      await session.run(next)
    } catch (error) {
      throw retryLater(error)
    }
  }
}

/** The session of a request. Throws `ConfigurationError` when the request did not pass {@link readYourWrites}. */
export function sessionOf<S extends HttpSession>(db: HttpDatabase<S>, ctx: Context): S {
  return requireSession(db, ctx.req)
}
