/** What all servers on Node's `http` module share: frameworks differ in how they call their middleware, not in this. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import onHeaders from 'on-headers'
import { type ExchangeOptions, type HttpDatabase, type HttpSession, tokenExchange } from './exchange.js'
import { findSession, keepSession, type UserOf } from './request-session.js'

export interface NodeOptions<R> extends ExchangeOptions {
  /**
   * The authenticated user of a request: so the middleware belongs after authentication. Default: nobody, and then only
   * what the client carries is known.
   */
  readonly user?: UserOf<R> | undefined
}

/** Opens the session of a request; its token goes out with whatever ends up sending the response's headers. */
export function nodeExchange<S extends HttpSession, R>(
  db: HttpDatabase<S>,
  options: NodeOptions<R>,
): (req: IncomingMessage, res: ServerResponse, request: R, overTls: boolean) => Promise<S> {
  const open = tokenExchange(db, options)
  return async (req, res, request, overTls) => {
    const known = findSession(db, req)
    if (known !== undefined) return known
    const given = options.user?.(request)
    // Who is known at once need not be waited for: promises are most of what a session costs a request.
    const user = typeof given === 'object' ? await given : given
    const exchange = open({ get: name => headerOf(req, name) }, { user, overTls })
    const { session } = exchange
    keepSession(db, req, session)
    emitWithin(session, req)
    beforeHeaders(res, () => exchange.apply({ append: (name, value) => res.appendHeader(name, value) }, res.statusCode))
    res.once('close', exchange.finish)
    return session
  }
}

function headerOf(req: IncomingMessage, name: string): string | null {
  const value = req.headers[name.toLowerCase()]
  return (Array.isArray(value) ? value.join(', ') : value) ?? null
}

/** The parser emits a request's events, and knows of no scope: a handler that reads the body in them would be outside. */
function emitWithin(session: HttpSession, req: IncomingMessage): void {
  const emit: (event: string | symbol, ...args: unknown[]) => boolean = req.emit.bind(req)
  // With a name, and not assigned as it is written down: see beforeHeaders.
  const emitInScope: typeof emit = (event, ...args) => session.run(() => emit(event, ...args))
  req.emit = emitInScope
}

type WriteHead = (status: number, ...rest: unknown[]) => ServerResponse

function beforeHeaders(res: ServerResponse, listener: () => void): void {
  onHeaders(res, listener)
  // on-headers keeps only the last of several equal names in a list of pairs; as a flat list it keeps them all.
  const writeHead = res.writeHead.bind(res) as WriteHead
  const writeFlat: WriteHead = (status, ...rest) =>
    writeHead(status, ...rest.map(part => (Array.isArray(part) && Array.isArray(part[0]) ? part.flat() : part)))
  // V8 takes `object.property = () => …` for a method that stays, and makes such a function in the old generation: all that it refers
  // to, here a whole request, outlives the collections of the young one. Measured: 1.6 KB a request, and pauses twice as long.
  res.writeHead = writeFlat
}
