import type { FastifyPluginCallback, FastifyReply, FastifyRequest } from 'fastify'
import type { HttpDatabase, HttpSession } from './exchange.js'
import { continueWithin, type NodeOptions, nodeExchange } from './node-exchange.js'
import { requireSession } from './request-session.js'
import { retryLater } from './retry-later.js'

export interface FastifyOptions extends NodeOptions<FastifyRequest> {
  /**
   * When the session begins. With `user`, authentication must have run before: hooks run in the order of their
   * registration, and those of a route after those of its server. Default `onRequest`.
   */
  readonly hook?: 'onRequest' | 'preHandler'
}

/**
 * A Fastify plugin: a session is in scope for all routes of the server it is registered on.
 * A `NotReadyError` is answered with 503 and `Retry-After`.
 *
 * ```ts
 * app.register(readYourWrites(db, { user: request => request.user?.id }))
 * ```
 */
export function readYourWrites<S extends HttpSession>(db: HttpDatabase<S>, options: FastifyOptions = {}): FastifyPluginCallback {
  const open = nodeExchange(db, options)
  const begin = (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void) => {
    void continueWithin(() => open(request.raw, reply.raw, request, request.protocol === 'https'), done)
  }
  const plugin: FastifyPluginCallback = (app, _options, done) => {
    if (options.hook === 'preHandler') app.addHook('preHandler', begin)
    else app.addHook('onRequest', begin)
    app.addHook('onError', (_request, _reply, error, next) => {
      retryLater(error)
      next()
    })
    done()
  }
  // Without this Fastify would confine the hooks to the plugin itself, which has no routes.
  return Object.assign(plugin, { [Symbol.for('skip-override')]: true, [Symbol.for('fastify.display-name')]: 'tidemark' })
}

/** The session of a request. Throws `ConfigurationError` when the request did not pass {@link readYourWrites}. */
export function sessionOf<S extends HttpSession>(db: HttpDatabase<S>, request: FastifyRequest): S {
  return requireSession(db, request.raw)
}
