import type { Context, MiddlewareHandler } from 'hono'
import { NotReadyError } from '../core/ladder.js'
import { type ExchangeOptions, type HttpDatabase, type HttpSession, tokenExchange } from './exchange.js'
import { findSession, keepSession, requireSession, type UserOf } from './request-session.js'
import { retryAfter } from './retry-later.js'

export interface HonoOptions extends ExchangeOptions {
  /** The authenticated user of a request: so the middleware belongs after authentication. Default: nobody. */
  readonly user?: UserOf<Context> | undefined
}

/**
 * Hono middleware: a session is in scope for everything behind it. Put it after authentication when `user` is given.
 * A `NotReadyError` is answered with 503 and `Retry-After`, unless an error handler of yours has answered it with
 * something else than 500.
 *
 * The token goes out when the handlers have returned: what a body writes while it streams comes too late.
 *
 * ```ts
 * app.use(readYourWrites(db, { user: c => c.get('user')?.id }))
 * ```
 */
export function readYourWrites<S extends HttpSession>(db: HttpDatabase<S>, options: HonoOptions = {}): MiddlewareHandler {
  const open = tokenExchange(db, options)
  return async (c, next) => {
    if (findSession(db, c) !== undefined) return next()
    const user = await options.user?.(c)
    const request = { get: (name: string) => c.req.header(name) ?? null }
    const exchange = open(request, { user, overTls: new URL(c.req.url).protocol === 'https:' })
    keepSession(db, c, exchange.session)
    onEnd(c, exchange.finish)

    await exchange.session.run(next)
    if (c.error instanceof NotReadyError && c.res.status === 500) {
      const headers = new Headers(c.res.headers)
      headers.set('Retry-After', retryAfter(c.error))
      c.res = new Response(c.res.body, { status: 503, headers })
    }
    // A response that switches protocols cannot be copied, which changing its headers may need.
    if (c.res.status === 101) return
    exchange.apply({ append: (name, value) => c.header(name, value, { append: true }) }, c.res.status)
  }
}

/** The session of a request. Throws `ConfigurationError` when the request did not pass {@link readYourWrites}. */
export function sessionOf<S extends HttpSession>(db: HttpDatabase<S>, c: Context): S {
  return requireSession(db, c)
}

/** On Node's server the end of a response is known; elsewhere nobody tells. */
function onEnd(c: Context, listener: () => void): void {
  const env = c.env as { readonly outgoing?: { once?(event: 'close', listener: () => void): unknown } } | undefined
  env?.outgoing?.once?.('close', listener)
}
