/** What the HTTP tests share: sessions that are real but for the cluster behind them, a client that sees the wire, a cookie jar. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { type OutgoingHttpHeaders, request } from 'node:http'
import { systemClock } from '../../src/core/clock.js'
import type { Events } from '../../src/core/events.js'
import { Position } from '../../src/core/position.js'
import { Session, type SessionContext, type SessionOptions, type Tokens } from '../../src/core/session.js'
import { StoredPositions } from '../../src/core/stored-positions.js'
import { TokenCodec } from '../../src/core/token/codec.js'
import type { TokenStore } from '../../src/core/token-store.js'
import type { HttpDatabase, HttpSession } from '../../src/http/exchange.js'

export const SECRET = 'a secret for tests only'
const LINEAGE = '7000000000000000001/1'

class TestSession extends Session implements HttpSession {
  readonly #scope: AsyncLocalStorage<TestSession>
  constructor(scope: AsyncLocalStorage<TestSession>, context: SessionContext, tokens: Tokens, options: SessionOptions) {
    super(context, tokens, options)
    this.#scope = scope
  }
  run<T>(fn: () => T): T {
    return this.#scope.run(this, fn)
  }
}

/** A promise and the function that resolves it. */
export function gate(): { readonly opened: Promise<void>; open(): void } {
  let open = () => {}
  const opened = new Promise<void>(resolve => {
    open = resolve
  })
  return { opened, open: () => open() }
}

/** A database whose log is a number. Handlers of the tested servers find their session as `db.pool` would: by scope. */
export class TestDatabase implements HttpDatabase<TestSession> {
  readonly codec: TokenCodec
  readonly #context: SessionContext
  readonly #scope = new AsyncLocalStorage<TestSession>()
  #offset = 0x16b_3748n
  #wall = 0
  /** Handlers of `/gated` say that they have written, and wait. */
  readonly gates = new Map<string, { readonly written: ReturnType<typeof gate>; readonly release: ReturnType<typeof gate> }>()

  constructor(options: { readonly store?: TokenStore; readonly secret?: string | readonly string[] } = {}) {
    this.codec = new TokenCodec({ secret: options.secret ?? SECRET, clock: { ...systemClock, wallNow: () => this.#tick() } })
    const stored = options.store && new StoredPositions(options.store, systemClock, 100)
    this.#context = { codec: this.codec, clock: systemClock, stored }
  }

  /** No two tokens are issued in the same millisecond: answers that cross the network are further apart than calls in a test. */
  #tick(): number {
    this.#wall = Math.max(this.#wall + 1, Date.now())
    return this.#wall
  }

  session(tokens?: Tokens, options: SessionOptions = {}): TestSession {
    return new TestSession(this.#scope, this.#context, tokens, options)
  }

  get current(): TestSession {
    const session = this.#scope.getStore()
    if (session === undefined) throw new Error('no session is in scope')
    return session
  }

  /** A write of the session in scope. */
  async write(): Promise<Position> {
    this.#offset += 100n
    const position = Position.at(LINEAGE, this.#offset)
    await this.current.wrote(position)
    return position
  }

  /** A read of the session in scope, served by the primary: it settles a doubt. */
  readPrimary(): void {
    const { current } = this
    current.settle(Position.at(LINEAGE, this.#offset), current.doubts)
  }

  /** What a handler tells of the session in scope. */
  describe(): string {
    const { history, user } = this.current
    return JSON.stringify({ writes: history.writes.toString(), uncertain: history.uncertain, user: user ?? null })
  }

  gateOf(id: string) {
    const known = this.gates.get(id) ?? { written: gate(), release: gate() }
    this.gates.set(id, known)
    return known
  }
}

export interface Described {
  readonly writes: string
  readonly uncertain: boolean
  readonly user: string | null
}

export interface Answer {
  readonly status: number
  /** Names in lower case, repetitions kept. */
  readonly headers: readonly (readonly [string, string])[]
  readonly body: string
  all(name: string): readonly string[]
  /** `Set-Cookie` lines that are ours. */
  readonly tokenCookies: readonly string[]
  readonly described: Described
}

/** One request on a connection of its own; the headers are those on the wire. */
export function send(origin: string, method: string, path: string, headers: OutgoingHttpHeaders = {}, body?: string) {
  return new Promise<Answer>((resolve, reject) => {
    const outgoing = request(origin + path, { method, headers, agent: false }, res => {
      let text = ''
      res.setEncoding('utf8').on('data', part => {
        text += part
      })
      res.on('error', reject).on('end', () => {
        const raw = res.rawHeaders
        const pairs = raw.flatMap((name, i) => (i % 2 === 0 ? [[name.toLowerCase(), raw[i + 1]!] as const] : []))
        const all = (name: string) => pairs.filter(([key]) => key === name.toLowerCase()).map(([, value]) => value)
        resolve({
          status: res.statusCode!,
          headers: pairs,
          body: text,
          all,
          tokenCookies: all('set-cookie').filter(line => line.startsWith('tidemark.')),
          get described() {
            return JSON.parse(text) as Described
          },
        })
      })
    })
    outgoing.on('error', reject).end(body)
  })
}

/** A browser's cookie jar, as far as one origin goes: a cookie is its name; `Max-Age=0` removes it (RFC 6265, section 5.3). */
export class Jar {
  readonly cookies = new Map<string, string>()

  take(answer: Answer): void {
    for (const line of answer.all('set-cookie')) {
      const [, name, value, attributes] = /^([^=]+)=([^;]*)(.*)$/.exec(line)!
      this.store(name!, value!, /;\s*max-age=0(;|$)/i.test(attributes!))
    }
  }

  protected store(name: string, value: string, expired: boolean): void {
    if (expired) this.cookies.delete(name)
    else this.cookies.set(name, value)
  }

  get headers(): OutgoingHttpHeaders {
    return this.cookies.size === 0 ? {} : { cookie: [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ') }
  }

  get tokens(): string[] {
    return [...this.cookies].flatMap(([name, value]) => (name.startsWith('tidemark.') ? [value] : []))
  }
}

/** The control: what becomes of the same answers when there is one cookie of a fixed name. The last to arrive wins. */
export class OneSlotJar extends Jar {
  protected override store(name: string, value: string, expired: boolean): void {
    if (expired) return
    this.cookies.clear()
    this.cookies.set(name, value)
  }
}

export function cookieOf(token: string): string {
  return `tidemark.${token.slice(-8)}=${token}`
}

/** Collects the warnings that are published while `work` runs. */
export async function warningsDuring(
  work: (heard: readonly unknown[]) => Promise<void>,
): Promise<readonly Events['tidemark:warning'][]> {
  const heard: Events['tidemark:warning'][] = []
  const listener = (message: unknown) => heard.push(message as Events['tidemark:warning'])
  subscribe('tidemark:warning', listener)
  try {
    await work(heard)
  } finally {
    unsubscribe('tidemark:warning', listener)
  }
  return heard
}

/** Polls; fails by the test's own time-out. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => setImmediate(resolve))
}
