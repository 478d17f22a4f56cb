import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { PresetName } from '../../core/presets.js'
import { APP_SCRIPT } from './assets/app-script.js'
import { STYLE_SHEET } from './assets/style-sheet.js'
import type { Backend } from './backend.js'
import type { FailoverState } from './failover.js'
import { demoPage } from './pages.js'
import { photoRoutes } from './photo-app.js'
import type { Policy } from './policies.js'
import { PRESET_NAMES, presetNamed } from './presets.js'
import { readForm, send, sendEventStream, sendHtml, sendText } from './respond.js'
import { type PolicyName, type Score, Scoreboard } from './scoreboard.js'
import { authorOf } from './visitor.js'

export const MAX_LAG_MS = 60_000
const PUBLISH_MS = 250
const MAX_WATCHERS = 50
/** What goes wrong again and again is told no more often than this. */
const TELL_EVERY_MS = 5_000

export interface DemoState {
  readonly policy: PolicyName
  readonly lagMs: number
  /** Of the policy "Tidemark". */
  readonly preset: PresetName
  readonly nodes: readonly string[]
  /** The node that is the primary, or was the last one. */
  readonly primary: string
  readonly down: readonly string[]
  readonly failover: FailoverState
  readonly scores: readonly Score[]
}

export interface ListenOptions {
  readonly host: string
  /** 0 takes any free one. */
  readonly port: number
  readonly onError: (message: string, error: unknown) => void
}

type Handler = (req: IncomingMessage, res: ServerResponse) => unknown

/** The demo's web server: the photo application under the policy of the moment, and the page that shows what becomes of it. */
export class DemoServer {
  readonly scoreboard: Scoreboard
  readonly #backend: Backend
  readonly #server: Server
  readonly #onError: ListenOptions['onError']
  readonly #routes: ReadonlyMap<string, Handler>
  readonly #watchers = new Set<ServerResponse>()
  readonly #publisher: NodeJS.Timeout
  #published = ''
  #toldAt = Number.NEGATIVE_INFINITY
  #policy: Policy

  /** Rejects when the port cannot be had. */
  static async listen(backend: Backend, options: ListenOptions): Promise<DemoServer> {
    const demo = new DemoServer(backend, options)
    demo.#server.listen(options.port, options.host)
    try {
      await once(demo.#server, 'listening')
    } catch (error) {
      clearInterval(demo.#publisher)
      throw error
    }
    return demo
  }

  private constructor(backend: Backend, { onError }: ListenOptions) {
    this.#backend = backend
    this.#onError = onError
    this.scoreboard = new Scoreboard(backend.nodes)
    this.#policy = backend.policies[0]!
    this.#routes = new Map<string, Handler>([
      ['GET /', (req, res) => this.#showPage(req, res)],
      ['GET /app.js', (_, res) => send(res, 200, 'text/javascript', APP_SCRIPT)],
      ['GET /style.css', (_, res) => send(res, 200, 'text/css', STYLE_SHEET)],
      ['GET /favicon.ico', (_, res) => res.writeHead(204).end()],
      ['GET /state', (_, res) => send(res, 200, 'application/json', JSON.stringify(this.state))],
      ['GET /events', (req, res) => this.#watch(req, res)],
      ['POST /settings', (req, res) => this.#change(req, res)],
      ['POST /promote', (_, res) => this.#promote(res)],
    ])
    const listeners = new Map(backend.policies.map(policy => [policy, this.#photoListener(policy)]))
    this.#server = createServer((req, res) => void this.#handle(req, res, listeners))
    this.#publisher = setInterval(() => this.#publish(), PUBLISH_MS)
  }

  get url(): string {
    const { address, family, port } = this.#server.address() as AddressInfo
    return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`
  }

  get state(): DemoState {
    const { lagMs, preset, nodes, primary, down, failover } = this.#backend
    const scores = this.scoreboard.scores()
    return { policy: this.#policy.name, lagMs, preset, nodes, primary, down, failover, scores }
  }

  /** From the next request on. */
  usePolicy(name: PolicyName): void {
    this.#policy = this.#backend.policies.find(policy => policy.name === name)!
  }

  async close(): Promise<void> {
    clearInterval(this.#publisher)
    const closed = new Promise(resolve => this.#server.close(resolve))
    this.#server.closeAllConnections()
    await closed
  }

  async #handle(req: IncomingMessage, res: ServerResponse, listeners: ReadonlyMap<Policy, RequestListener>): Promise<void> {
    const route = routeOf(req)
    try {
      if (req.method === 'POST' && isForeign(req)) sendText(res, 403, 'Not from another site.')
      else if (route in photoRoutes) await listeners.get(this.#policy)!(req, res)
      else {
        const handler = this.#routes.get(route)
        if (handler === undefined) sendText(res, 404, 'There is nothing here.')
        else await handler(req, res)
      }
    } catch (error) {
      if (res.destroyed) return // The visitor has gone.
      this.#tell(`${route} failed`, error)
      if (res.headersSent) res.destroy()
      else sendText(res, 500, 'That did not work. The terminal that the demo runs in says why.')
    }
  }

  #photoListener(policy: Policy): RequestListener {
    return policy.listener((req, res, store) =>
      photoRoutes[routeOf(req)]!(req, res, store, {
        policy,
        scoreboard: this.scoreboard,
        primary: this.#backend.primary,
      }),
    )
  }

  #showPage(req: IncomingMessage, res: ServerResponse): void {
    authorOf(req, res)
    sendHtml(res, demoPage(this.state))
  }

  async #change(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const form = await readForm(req)
    const lag = form.get('lagMs')
    const lagMs = Number(lag ?? 0)
    const policy = this.#backend.policies.find(({ name }) => name === form.get('policy'))
    const preset = presetNamed(form.get('preset'))
    const known = (policy !== undefined || !form.has('policy')) && (preset !== undefined || !form.has('preset'))
    if (!known || lag === '' || !Number.isInteger(lagMs) || lagMs < 0 || lagMs > MAX_LAG_MS) {
      return sendText(
        res,
        400,
        `Expected policy (one of the three), preset (${PRESET_NAMES.join(', ')}) or lagMs (0 to ${MAX_LAG_MS}).`,
      )
    }
    if (policy !== undefined) this.#policy = policy
    if (form.has('reset')) this.scoreboard.reset()
    if (preset !== undefined && preset !== this.#backend.preset) {
      await this.#backend.usePreset(preset)
      // What another preset did would only blur what this one does.
      this.scoreboard.reset('tidemark')
    }
    if (lag !== null) await this.#backend.setLag(lagMs)
    send(res, 200, 'application/json', JSON.stringify(this.state))
  }

  async #promote(res: ServerResponse): Promise<void> {
    const { blocked } = this.#backend.failover
    if (blocked !== null) return sendText(res, 409, blocked)
    await this.#backend.promote((message, error) => this.#tell(message, error))
    send(res, 200, 'application/json', JSON.stringify(this.state))
  }

  #tell(message: string, error: unknown): void {
    const now = performance.now()
    if (now - this.#toldAt < TELL_EVERY_MS) return
    this.#toldAt = now
    this.#onError(message, error)
  }

  #watch(req: IncomingMessage, res: ServerResponse): void {
    if (this.#watchers.size >= MAX_WATCHERS) {
      sendText(res, 503, 'Too many watch already.')
      return
    }
    sendEventStream(res)
    res.write(eventOf(JSON.stringify(this.state)))
    this.#watchers.add(res)
    req.on('close', () => this.#watchers.delete(res))
  }

  #publish(): void {
    if (this.#watchers.size === 0) return
    const news = JSON.stringify(this.state)
    if (news === this.#published) return
    this.#published = news
    for (const watcher of this.#watchers) {
      // Who does not read fast enough misses a state; the next one says it all again.
      if (!watcher.writableNeedDrain) watcher.write(eventOf(news))
    }
  }
}

function routeOf(req: IncomingMessage): string {
  return `${req.method === 'HEAD' ? 'GET' : req.method} ${req.url?.split('?', 1)[0]}`
}

function eventOf(data: string): string {
  return `data: ${data}\n\n`
}

/** Whether another site's page has made the browser send this. */
function isForeign({ headers }: IncomingMessage): boolean {
  return !['same-origin', 'none', undefined].includes(headers['sec-fetch-site'] as string | undefined)
}
