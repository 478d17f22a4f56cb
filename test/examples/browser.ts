/** As much of a browser as the examples need: a cookie jar, and forms that are followed by what they redirect to. */
export class Browser {
  readonly #origin: string
  readonly #headers: Readonly<Record<string, string>>
  readonly #cookies = new Map<string, string>()

  constructor(origin: string, headers: Readonly<Record<string, string>> = {}) {
    this.#origin = origin
    this.#headers = headers
  }

  get(path: string): Promise<unknown> {
    return this.#send(path, {})
  }

  /** Sends a form; gives the page that it ends up on. */
  async post(path: string, fields: Readonly<Record<string, string>>): Promise<unknown> {
    return this.#send(path, { method: 'POST', body: new URLSearchParams(fields) })
  }

  async #send(path: string, request: RequestInit): Promise<unknown> {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const response = await fetch(this.#origin + path, {
      ...request,
      headers: cookie === '' ? this.#headers : { ...this.#headers, cookie },
      redirect: 'manual',
    })
    for (const line of response.headers.getSetCookie()) this.#keep(line)
    const location = response.headers.get('location')
    if (response.status === 303 && location !== null) {
      await response.body?.cancel()
      return this.#send(location, {})
    }
    if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`)
    return response.json()
  }

  #keep(line: string): void {
    const [, name, value, attributes] = /^([^=]+)=([^;]*)(.*)$/.exec(line)!
    if (/;\s*max-age=0(;|$)/i.test(attributes!)) this.#cookies.delete(name!)
    else this.#cookies.set(name!, value!)
  }
}
