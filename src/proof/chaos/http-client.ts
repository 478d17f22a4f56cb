/**
 * `fetch` on `node:http`, for small JSON requests: Node's own costs several times as much, of a machine that also runs the cluster
 * and the routers.
 */
import { Agent, type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'

type Fetch = typeof globalThis.fetch

export class HttpClient {
  readonly #agent = new Agent({ keepAlive: true })

  /** Rejects with the error of the connection, or the signal's reason. The response comes when all of it is there. */
  readonly fetch: Fetch = async (input, init = {}) => {
    const { method = 'GET', body, signal } = init
    const headers = Object.fromEntries(new Headers(init.headers))
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const sent = request(String(input), { method, headers, agent: this.#agent, ...(signal && { signal }) }, resolve)
      sent.once('error', reject).end(body)
    })
    const answered = new Headers()
    for (const [name, values] of Object.entries(response.headersDistinct)) {
      for (const value of values ?? []) answered.append(name, value)
    }
    return new Response(await text(response), { status: response.statusCode ?? 500, headers: answered })
  }

  close(): void {
    this.#agent.destroy()
  }
}
