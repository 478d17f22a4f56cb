/** How a device carries its tokens: as a browser's cookies, or by header with the set that `fetch` clients keep. */
import { REPLACES_SUFFIX, TOKEN_HEADER } from '../../http/carrier.js'
import type { HeaderReader, HeaderWriter } from '../../http/exchange.js'
import { TokenSet } from '../../http/token-set.js'

/** The headers of one response, which a network may deliver twice, late, or never. */
export class ResponseHeaders implements HeaderWriter {
  readonly #lines: (readonly [name: string, value: string])[] = []

  append(name: string, value: string): void {
    this.#lines.push([name.toLowerCase(), value])
  }

  all(name: string): readonly string[] {
    const wanted = name.toLowerCase()
    return this.#lines.filter(([each]) => each === wanted).map(([, value]) => value)
  }

  get(name: string): string | null {
    const values = this.all(name)
    return values.length === 0 ? null : values.join(', ')
  }
}

export interface TokenCarrier {
  /** The headers of the next request; `extra` is sent along as if it were one of the device's tokens. */
  request(extra?: string): HeaderReader
  receive(response: ResponseHeaders): void
}

export function tokenCarrier(kind: 'cookie' | 'header', random: () => number): TokenCarrier {
  return kind === 'cookie' ? new CookieJar() : new HeaderCarrier(random)
}

/** As much of RFC 6265 as one host's cookies take: a name is set or removed, the oldest is sent first. */
class CookieJar implements TokenCarrier {
  readonly #cookies = new Map<string, string>()

  request(extra?: string): HeaderReader {
    const pairs = [...this.#cookies].map(([name, value]) => `${name}=${value}`)
    if (extra !== undefined) pairs.push(`tidemark.${extra.slice(-8)}=${extra}`)
    return headers({ cookie: pairs.length === 0 ? null : pairs.join('; ') })
  }

  receive(response: ResponseHeaders): void {
    for (const line of response.all('Set-Cookie')) {
      const [pair = '', ...attributes] = line.split(';')
      const at = pair.indexOf('=')
      const name = pair.slice(0, at)
      if (attributes.some(attribute => attribute.trim() === 'Max-Age=0')) this.#cookies.delete(name)
      else this.#cookies.set(name, pair.slice(at + 1))
    }
  }
}

class HeaderCarrier implements TokenCarrier {
  readonly #tokens: TokenSet

  constructor(random: () => number) {
    this.#tokens = new TokenSet(undefined, TOKEN_HEADER, random)
  }

  request(extra?: string): HeaderReader {
    const listed = [...this.#tokens.all(), ...(extra === undefined ? [] : [extra])]
    // Sent even when empty: it asks for the answer by header.
    return headers({ [TOKEN_HEADER.toLowerCase()]: listed.join(', ') })
  }

  receive(response: ResponseHeaders): void {
    this.#tokens.update(response.get(TOKEN_HEADER), response.get(TOKEN_HEADER + REPLACES_SUFFIX))
  }
}

function headers(values: Readonly<Record<string, string | null>>): HeaderReader {
  return { get: name => values[name.toLowerCase()] ?? null }
}
