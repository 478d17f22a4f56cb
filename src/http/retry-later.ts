import { NotReadyError } from '../core/ladder.js'

/** The value of `Retry-After`: whole seconds. */
export function retryAfter(error: NotReadyError): string {
  return String(Math.ceil(error.retryAfterMs / 1_000))
}

/**
 * Gives a `NotReadyError` the properties by which Express, Koa and Fastify answer 503 with `Retry-After`.
 * Any other value is left as it is. Returns its argument.
 */
export function retryLater(error: unknown): unknown {
  if (!(error instanceof NotReadyError)) return error
  return Object.assign(error, { status: 503, statusCode: 503, headers: { 'Retry-After': retryAfter(error) } })
}
