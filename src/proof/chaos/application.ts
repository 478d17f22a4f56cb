/**
 * The application of a chaos run: keys and values over HTTP, on Tidemark as anybody would use it. Every write returns what it
 * replaced, and notes that in an audit table in the same transaction.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { json } from 'node:stream/consumers'
import { ConfigurationError } from '../../core/errors.js'
import { LostWriteError, type LostWrites } from '../../core/lost-write-error.js'
import type { Guarantee } from '../../core/outcome.js'
import type { PresetName } from '../../core/presets.js'
import { NotServedError } from '../../core/router.js'
import type { TokenStore } from '../../core/token-store.js'
import {
  NoPrimaryError,
  type PostgresSession,
  postgresTokenStore,
  type Tidemark,
  tidemark,
} from '../../engines/postgres/index.js'
import { readYourWrites } from '../../http/node.js'
import { READERS, readEventually, writeAll } from './items.js'
import { type Done, type Failed, USER_HEADER, type WorkRequest } from './protocol.js'

/**
 * Ways to build the application wrongly, to prove that a run would notice: reads that ask for nothing and claim to be fenced; tokens and
 * users that are not looked at; losses that are not passed on.
 */
export const FLAWS = ['unfenced', 'stripped', 'silent'] as const
export type Flaw = (typeof FLAWS)[number]

export interface ApplicationConfig {
  readonly nodes: readonly { readonly name: string; readonly url: string }[]
  readonly secret: string
  readonly preset: PresetName
  readonly lostWrites: LostWrites
  readonly port: number
  readonly flaw?: Flaw | undefined
}

const OCCUPY = 'SELECT pg_sleep(0.5)'

/** An application that listens, and what ends it: requests that run are answered first. */
export async function startApplication(config: ApplicationConfig): Promise<() => Promise<void>> {
  let store: TokenStore | undefined
  const db = await tidemark({
    nodes: config.nodes,
    secret: config.secret,
    preset: config.preset,
    lostWrites: config.lostWrites,
    store: query => {
      store = postgresTokenStore()(query)
      return store
    },
    // A write is answered when its user's other devices will know of it; see `isEverywhere`.
    storeTimeoutMs: 1_000,
    pollIntervalMs: 500,
    pollTimeoutMs: 1_000,
    connectTimeoutMs: 1_500,
    // Without query_timeout, a statement on a primary that is half-open waits until TCP gives up, which is nobody's deadline.
    pool: { max: 4, query_timeout: 2_000 },
    onWarning: () => {},
  })
  const application = new Application(db, store!, config.flaw)
  const server = createServer((request, response) => application.listen(request, response))
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(config.port, '127.0.0.1', resolve)
  })
  return async () => {
    await closed(server)
    await db.close()
  }
}

/** Requests that run are answered; connections that are kept alive are closed as soon as they have nothing to do. */
async function closed(server: Server): Promise<void> {
  const ended = new Promise(resolve => server.close(resolve))
  const closing = setInterval(() => server.closeIdleConnections(), 20)
  await ended
  clearInterval(closing)
}

type Listener = (request: IncomingMessage, response: ServerResponse) => unknown

class Application {
  readonly #db: Tidemark
  readonly #store: TokenStore
  readonly #flaw: Flaw | undefined
  readonly #routes: Readonly<Record<string, Listener>>

  constructor(db: Tidemark, store: TokenStore, flaw: Flaw | undefined) {
    this.#db = db
    this.#store = store
    this.#flaw = flaw
    const user = (request: IncomingMessage) =>
      flaw === 'stripped' ? undefined : (request.headers[USER_HEADER] as string | undefined)
    const fenced = (guarantee: Guarantee) => {
      const inSession = readYourWrites(db, { user, guarantee })
      return inSession((request, response) => this.#answer(request, response, true))
    }
    this.#routes = {
      '/read-your-writes': fenced('read-your-writes'),
      '/monotonic-reads': fenced('monotonic-reads'),
      '/eventual': (request, response) => this.#answer(request, response, false),
      '/occupy/primary': async (_, response) => this.#send(response, 200, await occupied(db.pool.query(OCCUPY))),
      '/occupy/replica': async (_, response) =>
        this.#send(response, 200, await occupied(db.eventual.query(OCCUPY, undefined, { on: 'replica' }))),
      '/status': (_, response) => this.#send(response, 200, db.status()),
    }
  }

  async listen(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const route = this.#routes[request.url ?? '']
    if (this.#flaw === 'stripped') for (const header of ['cookie', 'tidemark-token']) delete request.headers[header]
    try {
      if (route === undefined)
        this.#send(response, 404, { error: `there is no ${request.url}`, certain: true, possiblyLost: false })
      else await route(request, response)
    } catch (error) {
      this.#send(response, 500, { error: String(error), certain: false, possiblyLost: false })
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse, fenced: boolean): Promise<void> {
    const work = (await json(request)) as WorkRequest
    try {
      const session = fenced ? this.#db.currentSession! : undefined
      const done = work.writes === undefined ? await this.#read(work, session) : await this.#write(work, session)
      this.#send(response, 200, done)
    } catch (error) {
      const possiblyLost = error instanceof LostWriteError && this.#flaw !== 'silent'
      const failed: Failed = { error: describe(error), certain: isCertain(error), possiblyLost }
      this.#send(response, error instanceof LostWriteError ? 409 : 503, failed)
    }
  }

  async #read({ reads = [], way }: WorkRequest, session: PostgresSession | undefined): Promise<Done> {
    if (session === undefined || this.#flaw === 'unfenced') {
      return { reads: await readEventually(this.#db, reads), achieved: session?.guarantee ?? 'eventual' }
    }
    const values = await READERS[way](this.#db, session, reads)
    const { guarantee, possiblyLost } = session.lastOutcome!
    if (this.#flaw === 'silent') return { reads: values, achieved: session.guarantee }
    return { reads: values, achieved: guarantee, possiblyLost }
  }

  async #write({ writes = [], way }: WorkRequest, session: PostgresSession | undefined): Promise<Done> {
    if (session === undefined) throw new ConfigurationError('a write needs a session')
    const replaced = await writeAll(this.#db, session, writes, way)
    return session.user === undefined ? { replaced } : { replaced, everywhere: await this.#isEverywhere(session, session.user) }
  }

  /**
   * A token store that fails fails no write; what it could not take, it is given again by and by. Until then the user's other devices,
   * on other routers, do not know of the write, and nothing in the session says so. So an application that promises its users more
   * asks the store.
   */
  async #isEverywhere(session: PostgresSession, user: string): Promise<boolean> {
    if (session.history.uncertain) return false
    const kept = await this.#store.get(user).catch(() => undefined)
    return kept?.includes(session.history.writes) === true
  }

  #send(response: ServerResponse, status: number, body: unknown): void {
    if (response.headersSent) return
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  }
}

async function occupied(query: Promise<unknown>): Promise<{ readonly occupied: boolean }> {
  return query.then(
    () => ({ occupied: true }),
    () => ({ occupied: false }),
  )
}

/**
 * Whether nothing of it can have been committed: it was not sent, or the server has refused it. Anything else says nothing; above all a
 * connection that broke, or an answer that did not come.
 */
function isCertain(error: unknown): boolean {
  if (error instanceof NoPrimaryError || error instanceof NotServedError || error instanceof LostWriteError) return true
  return (error as { readonly severity?: unknown } | undefined)?.severity === 'ERROR'
}

function describe(error: unknown): string {
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown }
  return [code, message]
    .filter(part => part !== undefined)
    .join(': ')
    .slice(0, 200)
}
