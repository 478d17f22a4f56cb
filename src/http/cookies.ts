import { ConfigurationError } from '../core/errors.js'
import { isObject, shown } from '../core/shown.js'
import { isTokenText, tokenName } from './carrier.js'

export interface CookieOptions {
  /** Begins the names of the cookies: `<name>.<8 characters>`. Give each database its own. Default `tidemark`. */
  readonly name?: string
  /** Default: none, so only the host that set a cookie gets it back. */
  readonly domain?: string
  /** Default `/`. */
  readonly path?: string
  /** Default `lax`. `none` is for pages that are embedded in other sites, and needs `secure`. */
  readonly sameSite?: 'strict' | 'lax' | 'none'
  /** `auto`: as the request's own connection or the framework's proxy setting says. Behind a proxy that ends TLS say `true`. Default `auto`. */
  readonly secure?: 'auto' | boolean
  /**
   * Default 34 560 000 (400 days), the longest that browsers keep a cookie. A token is out of date when all replicas have
   * applied it and not when some time has passed, so the cookie should outlive any delay of a replica.
   */
  readonly maxAgeSeconds?: number
}

const LONGEST_MAX_AGE_SECONDS = 400 * 24 * 60 * 60

/** Reads and writes cookies that hold one token each; all other cookies are none of its business. */
export class TokenCookies {
  readonly #prefix: string
  readonly #secure: 'auto' | boolean
  readonly #maxAge: string
  readonly #attributes: string

  constructor(options: CookieOptions = {}) {
    if (!isObject(options)) throw new ConfigurationError(`cookie must be an object of options, not ${shown(options)}`)
    const { name = 'tidemark', domain, path = '/', sameSite = 'lax', secure = 'auto' } = options
    const { maxAgeSeconds = LONGEST_MAX_AGE_SECONDS } = options
    if (typeof name !== 'string' || !/^[\w-]{1,32}$/.test(name)) {
      throw new ConfigurationError(`cookie.name must be 1 to 32 letters, digits, "_" or "-", not ${shown(name)}`)
    }
    for (const [option, value] of Object.entries({ domain, path })) {
      if (value !== undefined && (typeof value !== 'string' || !/^[\w./~%-]+$/.test(value))) {
        throw new ConfigurationError(`cookie.${option} has characters that do not fit a cookie: ${shown(value)}`)
      }
    }
    if (!Number.isSafeInteger(maxAgeSeconds) || maxAgeSeconds <= 0) {
      throw new ConfigurationError(`cookie.maxAgeSeconds must be a whole number above 0, not ${shown(maxAgeSeconds)}`)
    }
    if (!['strict', 'lax', 'none'].includes(sameSite)) {
      throw new ConfigurationError(`cookie.sameSite must be 'strict', 'lax' or 'none', not ${shown(sameSite)}`)
    }
    if (secure !== 'auto' && typeof secure !== 'boolean') {
      throw new ConfigurationError(`cookie.secure must be 'auto', true or false, not ${shown(secure)}`)
    }
    if (sameSite === 'none' && secure === false) {
      throw new ConfigurationError('cookie.sameSite "none" needs secure: browsers drop such cookies otherwise')
    }
    this.#prefix = `${name}.`
    this.#secure = secure
    this.#maxAge = `Max-Age=${maxAgeSeconds}`
    this.#attributes = `Path=${path}; HttpOnly; SameSite=${sameSite}${domain === undefined ? '' : `; Domain=${domain}`}`
  }

  /** The tokens in a `Cookie` header, in its order. */
  read(header: string | null): string[] {
    const tokens: string[] = []
    for (const pair of header?.split(';') ?? []) {
      const cookie = pair.trim()
      if (!cookie.startsWith(this.#prefix)) continue
      const equals = cookie.indexOf('=')
      const token = cookie.slice(equals + 1)
      // The name must be the token's: that keeps a name's content from ever being another one.
      if (isTokenText(token) && tokenName(token) === cookie.slice(this.#prefix.length, equals)) tokens.push(token)
    }
    return tokens
  }

  /** A `Set-Cookie` line that adds the token to the client's set. */
  add(token: string, overTls: boolean): string {
    return this.#line(token, token, this.#maxAge, overTls)
  }

  /** A `Set-Cookie` line that removes it. */
  remove(token: string, overTls: boolean): string {
    return this.#line(token, '', 'Max-Age=0', overTls)
  }

  #line(token: string, value: string, maxAge: string, overTls: boolean): string {
    const secure = this.#secure === 'auto' ? overTls : this.#secure
    return `${this.#prefix}${tokenName(token)}=${value}; ${maxAge}; ${this.#attributes}${secure ? '; Secure' : ''}`
  }
}
