/** `fetch` for clients without cookies. Free of Node's modules: browsers load this. */
import { ConfigurationError } from '../core/errors.js'
import { shown } from '../core/shown.js'
import { REPLACES_SUFFIX, TOKEN_HEADER } from './carrier.js'
import { TokenSet, type TokenStorage } from './token-set.js'

export type { TokenStorage } from './token-set.js'

export interface ConsistencyOptions {
  /**
   * Where tokens may be sent, for example `['https://api.example.com']`; all of them must be served from the same database.
   * Default: the page's own origin. Required outside of browsers.
   */
  readonly origins?: readonly string[]
  /** As configured on the server. Default `Tidemark-Token`. */
  readonly header?: string
  /** Keeps the tokens over reloads and shares them between tabs, for example `localStorage`. Default: memory only. */
  readonly storage?: TokenStorage
}

type Fetch = typeof globalThis.fetch

/**
 * A `fetch` that carries tokens by header: what was written by a request whose response has arrived is seen by every
 * later one, also when responses arrive in another order than they were sent in.
 *
 * It does not see the headers of a redirect that `fetch` follows: let writes answer directly, or with a cookie as well
 * (the servers here do so by themselves on a redirect). A redirect to another origin takes the header along, as `fetch` does
 * with all headers of one's own. Requests to other origins pass unchanged.
 */
export function withConsistency(fetch: Fetch = globalThis.fetch, options: ConsistencyOptions = {}): Fetch {
  const { location } = globalThis as { readonly location?: { readonly href: string; readonly origin: string } }
  const { origins = location && [location.origin], header = TOKEN_HEADER, storage } = options
  if (origins === undefined) {
    throw new ConfigurationError(
      'withConsistency needs to know where tokens may be sent: set origins, e.g. ["https://api.example.com"]',
    )
  }
  if (!Array.isArray(origins)) throw new ConfigurationError(`withConsistency: origins must be a list, not ${shown(origins)}`)
  if (typeof header !== 'string' || !/^[\w-]+$/.test(header)) {
    throw new ConfigurationError(`withConsistency: header must be the name of an HTTP header, not ${shown(header)}`)
  }
  const allowed = new Set(origins.map(originOf))
  const held = new TokenSet(storage, header)

  return async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input, location?.href)
    if (!allowed.has(url.origin)) return fetch(input, init)
    const headers = new Headers(init?.headers ?? (input instanceof Request ? input.headers : undefined))
    // Sent even when empty: it asks for the answer by header.
    headers.set(header, held.all().join(', '))
    const response = await fetch(input, { ...init, headers })
    if (allowed.has(new URL(response.url || url).origin)) {
      held.update(response.headers.get(header), response.headers.get(header + REPLACES_SUFFIX))
    }
    return response
  }
}

function originOf(url: unknown): string {
  if (typeof url === 'string' && URL.canParse(url)) return new URL(url).origin
  throw new ConfigurationError(`withConsistency: an origin must be a URL such as "https://api.example.com", not ${shown(url)}`)
}
