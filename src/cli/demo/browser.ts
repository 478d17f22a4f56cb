/** The application cannot answer now, and said so. */
export class UnavailableError extends Error {}

/** As much of a browser as the scenario needs: a cookie jar, and forms that are followed by what they redirect to. */
export class Browser {
  readonly #origin: string
  readonly #signal: AbortSignal
  readonly #cookies = new Map<string, string>()

  constructor(origin: string, signal: AbortSignal) {
    this.#origin = origin
    this.#signal = signal
  }

  get(path: string): Promise<string> {
    return this.#send(path, {})
  }

  post(path: string, fields: Readonly<Record<string, string>>): Promise<string> {
    return this.#send(path, { method: 'POST', body: new URLSearchParams(fields) })
  }

  /** The page that it ends up on. */
  async #send(path: string, request: RequestInit): Promise<string> {
    // Not handed to fetch: it keeps a listener for each request until that is collected.
    this.#signal.throwIfAborted()
    const response = await fetch(this.#origin + path, {
      ...request,
      headers: { cookie: [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ') },
      redirect: 'manual',
    })
    for (const line of response.headers.getSetCookie()) this.#keep(line)
    const body = await response.text()
    const location = response.headers.get('location')
    if (response.status === 303 && location !== null) return this.#send(location, {})
    if (response.status === 503) throw new UnavailableError(`${path} answered 503`)
    if (!response.ok) throw new Error(`${path} answered ${response.status}: ${body.trim()}`)
    return body
  }

  #keep(line: string): void {
    const [pair = '', ...attributes] = line.split(';').map(part => part.trim())
    const at = pair.indexOf('=')
    const name = pair.slice(0, at)
    if (attributes.some(attribute => attribute.toLowerCase() === 'max-age=0')) this.#cookies.delete(name)
    else this.#cookies.set(name, pair.slice(at + 1))
  }
}
