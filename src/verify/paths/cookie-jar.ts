/** The cookies of one browser, as far as one server sets them. */
export class CookieJar {
  readonly #cookies = new Map<string, string>()

  /** A `fetch` that carries them. */
  readonly fetch: typeof globalThis.fetch = async (input, init) => {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const response = await fetch(input, { ...init, headers: { ...init?.headers, cookie } })
    for (const line of response.headers.getSetCookie()) this.#keep(line)
    return response
  }

  #keep(line: string): void {
    const [pair = '', ...attributes] = line.split(';').map(part => part.trim())
    const at = pair.indexOf('=')
    if (attributes.some(attribute => attribute.toLowerCase() === 'max-age=0')) this.#cookies.delete(pair.slice(0, at))
    else this.#cookies.set(pair.slice(0, at), pair.slice(at + 1))
  }
}
