/** An application on a real port, with the project's own middleware, and browsers and programs as its clients. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Tidemark } from '../../engines/postgres/index.js'
import { withConsistency } from '../../http/fetch.js'
import { readYourWrites, sessionOf } from '../../http/node.js'
import type { Client, Path, Seen, Written } from '../path.js'
import { QUERY_TIMEOUT_MS } from '../raw-nodes.js'
import type { Scratch } from '../scratch.js'
import { CookieJar } from './cookie-jar.js'
import { sessionClient } from './session-client.js'

const HOST = '127.0.0.1'
/** Of a request: whatever the server does for it has ended by then. */
const REQUEST_TIMEOUT_MS = 3 * QUERY_TIMEOUT_MS

type Fetch = typeof globalThis.fetch

export class HttpApplication {
  readonly #server: Server

  static async listen(db: Tidemark, scratch: Scratch): Promise<HttpApplication> {
    const application = new HttpApplication(db, scratch)
    await once(application.#server.listen({ port: 0, host: HOST }), 'listening')
    return application
  }

  private constructor(db: Tidemark, scratch: Scratch) {
    const handle = readYourWrites(db)((req, res) => answer(req, res, sessionClient(sessionOf(db, req), scratch)))
    this.#server = createServer(handle)
  }

  get paths(): Path[] {
    const origin = `http://${HOST}:${(this.#server.address() as AddressInfo).port}`
    return [
      { name: 'http, cookie', client: () => httpClient(origin, new CookieJar().fetch) },
      { name: 'http, header', client: () => httpClient(origin, withConsistency(fetch, { origins: [origin] })) },
    ]
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise(resolve => this.#server.close(resolve))
  }
}

/** `/?key=…` reads, with `&value=…` a POST writes. */
async function answer(req: IncomingMessage, res: ServerResponse, client: Client): Promise<void> {
  const { searchParams } = new URL(req.url ?? '/', 'http://application')
  const key = searchParams.get('key') ?? ''
  try {
    const result = req.method === 'POST' ? await client.write(key, searchParams.get('value') ?? '') : await client.read(key)
    res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(result))
  } catch (error) {
    res.writeHead(500).end(error instanceof Error ? error.message : String(error))
  }
}

function httpClient(origin: string, send: Fetch): Client {
  const request = async <Answer>(method: string, parameters: Record<string, string>): Promise<Answer> => {
    const response = await send(`${origin}/?${new URLSearchParams(parameters)}`, {
      method,
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    })
    if (!response.ok) throw new Error(`the application answered ${response.status}: ${await response.text()}`)
    return (await response.json()) as Answer
  }
  return {
    write: (key, value) => request<Written>('POST', { key, value }),
    read: key => request<Seen>('GET', { key }),
  }
}
