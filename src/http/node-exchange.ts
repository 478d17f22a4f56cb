/** What all servers on Node's `http` module share: frameworks differ in how they call their middleware, not in this. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import onHeaders from 'on-headers'
import { type ExchangeOptions, type HttpDatabase, type HttpSession, tokenExchange, type UserId } from './exchange.js'
import { findSession, keepSession, type UserOf } from './request-session.js'

export interface NodeOptions<R> extends ExchangeOptions {
  /**
   * The authenticated user of a request: so the middleware belongs after authentication. Default: nobody, and then only
   * what the client carries is known.
   */
  readonly user?: UserOf<R> | undefined
}

/**
 * Opens the session of a request; its token goes out with whatever ends up sending the response's headers. At once, unless the user
 * has to be waited for: promises are most of what a session costs a request.
 */
export function nodeExchange<S extends HttpSession, R>(
  db: HttpDatabase<S>,
  options: NodeOptions<R>,
): (req: IncomingMessage, res: ServerResponse, request: R, overTls: boolean) => S | Promise<S> {
  const open = tokenExchange(db, options)
  const begin = (req: IncomingMessage, res: ServerResponse, user: UserId, overTls: boolean) => {
    const exchange = open({ get: name => headerOf(req, name) }, { user, overTls })
    const { session } = exchange
    keepSession(db, req, session)
    emitWithin(session, req)
    beforeHeaders(res, () => exchange.apply({ append: (name, value) => res.appendHeader(name, value) }, res.statusCode))
    res.once('close', exchange.finish)
    return session
  }
  return (req, res, request, overTls) => {
    const known = findSession(db, req)
    if (known !== undefined) return known
    const user = options.user?.(request)
    if (typeof user !== 'object' || user === null) return begin(req, res, user, overTls)
    return user.then(resolved => begin(req, res, resolved, overTls))
  }
}

/** For frameworks that go on by a callback: it is called within the session, or with what opening it threw. */
export async function continueWithin<S extends HttpSession>(
  open: () => S | Promise<S>,
  next: (error?: Error) => void,
): Promise<void> {
  let session: S
  try {
    session = await open()
  } catch (error) {
    next(error as Error)
    return
  }
  session.run(() => next())
}

function headerOf(req: IncomingMessage, name: string): string | null {
  const value = req.headers[name.toLowerCase()]
  return (Array.isArray(value) ? value.join(', ') : value) ?? null
}

/** The parser emits a request's events, and knows of no scope: a handler that reads the body in them would be outside. */
function emitWithin(session: HttpSession, req: IncomingMessage): void {
  const emit: (event: string | symbol, ...args: unknown[]) => boolean = req.emit.bind(req)
  // With a name, and not assigned as it is written down: see beforeHeaders.
  const emitInScope: typeof emit = (event, ...args) =>
    req.listenerCount(event) === 0 ? emit(event, ...args) : session.run(() => emit(event, ...args))
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
