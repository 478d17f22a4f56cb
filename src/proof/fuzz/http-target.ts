import { AsyncLocalStorage } from 'node:async_hooks'
import fc from 'fast-check'
import { EMPTY_HISTORY, type History, includesHistory, joinHistories, sameHistory } from '../../core/history.js'
import { Session, type SessionContext, type SessionOptions, type Tokens } from '../../core/session.js'
import { TokenCodec } from '../../core/token/codec.js'
import { VirtualClock } from '../../core/virtual-clock.js'
import { type Exchange, type HttpDatabase, type HttpSession, tokenExchange } from '../../http/exchange.js'
import { ACCEPTED_ISSUERS, forge, issued, SECRETS, user } from './forged-tokens.js'
import { hostileText } from './hostile-text.js'
import { type Finding, Tally, type Target } from './target.js'

class FuzzSession extends Session implements HttpSession {
  readonly #scope: AsyncLocalStorage<FuzzSession>
  constructor(scope: AsyncLocalStorage<FuzzSession>, context: SessionContext, tokens: Tokens, options: SessionOptions) {
    super(context, tokens, options)
    this.#scope = scope
  }
  run<T>(fn: () => T): T {
    return this.#scope.run(this, fn)
  }
}

/** Sessions, and no database behind them. */
export class FuzzDatabase implements HttpDatabase<FuzzSession> {
  readonly codec: TokenCodec
  readonly #context: SessionContext
  readonly #scope = new AsyncLocalStorage<FuzzSession>()

  constructor(codec = new TokenCodec({ secret: SECRETS, clock: new VirtualClock() })) {
    this.codec = codec
    this.#context = { codec, clock: new VirtualClock() }
  }

  session(tokens?: Tokens, options: SessionOptions = {}): FuzzSession {
    return new FuzzSession(this.#scope, this.#context, tokens, options)
  }

  get current(): FuzzSession | undefined {
    return this.#scope.getStore()
  }
}

export interface Headers {
  readonly cookie: string | null
  readonly token: string | null
}

export interface HttpCase extends Headers {
  readonly user: string | undefined
  /** Those of the tokens issued for the case that this user may use; they may or may not be in its headers. */
  readonly good: readonly string[]
}

/** Ten times what Node's servers take, unless told otherwise. */
const MAX_HEADER_CHARACTERS = 160_000

const nameOf = (text: string) => text.slice(-8)

/** Cookie and token headers out of forged and good tokens, in good and in bad order. */
export const httpCases: fc.Arbitrary<HttpCase> = fc
  .record({
    user,
    issued: fc.array(issued, { minLength: 1, maxLength: 3 }),
    forges: fc.array(forge, { minLength: 1, maxLength: 6 }),
    shape: fc.array(
      fc.record({
        as: fc.constantFrom<(name: string, text: string) => string>(
          (name, text) => `tidemark.${name}=${text}`,
          (name, text) => `tidemark.${name}="${text}"`,
          (name, text) => `tidemark.${name}=${encodeURIComponent(Buffer.from(text).toString())}`,
          (name, text) => `tidemark.${name}=${text}=`,
          (_, text) => `tidemark.${text}`,
          (_, text) => `tidemark.__proto__=${text}`,
          (_, text) => `tidemark.=${text}`,
          (_, text) => `tidemark=${text}`,
          (name, text) => `Tidemark.${name}=${text}`,
          (_, text) => text,
        ),
        text: fc.option(hostileText, { nil: undefined, freq: 3 }),
        times: fc.oneof({ weight: 20, arbitrary: fc.constant(1) }, fc.integer({ min: 2, max: 40 }), fc.constant(3_000)),
      }),
      { maxLength: 6 },
    ),
    separator: fc.constantFrom('; ', ';', ';;', ' ; ', ', ', '\t', '\0'),
    listSeparator: fc.constantFrom(', ', ',', ',,', ' , ', '; ', '\n'),
    carriers: fc.constantFrom('cookie', 'header', 'both', 'neither'),
  })
  .map(({ user, issued, forges, shape, separator, listSeparator, carriers }) => {
    const texts = forges.map(make => String(make(issued)))
    const pairs = shape.flatMap(({ as, text, times }, i) => {
      const of = text ?? texts[i % texts.length]!
      return Array<string>(times).fill(as(nameOf(of), of))
    })
    const good = issued.filter(({ issuer, owner }) => ACCEPTED_ISSUERS.has(issuer) && (owner === undefined || owner === user))
    return {
      user,
      good: good.map(({ text }) => text),
      cookie: carriers === 'cookie' || carriers === 'both' ? pairs.join(separator).slice(0, MAX_HEADER_CHARACTERS) : null,
      token: carriers === 'header' || carriers === 'both' ? texts.join(listSeparator).slice(0, MAX_HEADER_CHARACTERS) : null,
    }
  })

/** What a client may make a session know: at least what it was before, at most what its good tokens say, and doubt. */
export function judgeHistory(
  history: History,
  user: string | undefined,
  headers: Headers,
  good: readonly string[],
  db: FuzzDatabase,
): Finding | undefined {
  const sent = `${headers.cookie} ${headers.token}`
  const mayCount = good.filter(text => sent.includes(text))
  const bound = { boundTo: user }
  const most = mayCount.reduce((all, text) => joinHistories(all, db.codec.decode(text, bound)), EMPTY_HISTORY)
  if (!includesHistory(most, history)) return { kind: 'accepted', message: 'the session knows more than its good tokens say' }
  const without = db.session(undefined, { user })
  if (mayCount.length === 0 && !sameHistory(history, without.history)) {
    return { kind: 'accepted', message: 'without a single good token, the session is not that of a client without tokens' }
  }
  return undefined
}

export interface HttpTargetOptions {
  readonly db?: FuzzDatabase
}

/** Cookies and headers through the exchange: nothing that a client sends makes it throw, believe, or answer what is no header. */
export function httpTarget({ db = new FuzzDatabase() }: HttpTargetOptions = {}): Target<HttpCase> {
  const truth = new FuzzDatabase()
  const open = tokenExchange(db)
  const seen = new Tally()
  return {
    name: 'http',
    seen,
    cpuBoundMs: 100,
    deadlineMs: 5_000,
    cases: httpCases,
    check({ user, good, cookie, token }) {
      const values: Record<string, string | null> = { Cookie: cookie, 'Tidemark-Token': token }
      const exchange = open({ get: name => values[name] ?? null }, { user })
      const finding = judgeHistory(exchange.session.history, user, { cookie, token }, good, truth)
      seen.count(exchange.session.history === EMPTY_HISTORY ? 'nothing believed' : 'something believed')
      return finding ?? answered(exchange, seen)
    },
    async close() {},
  }
}

/** More than a client can hold tokens, twice: it is told of each one that is replaced. */
const MAX_LINES = 130

function answered(exchange: Exchange, seen: Tally): Finding | undefined {
  const lines: string[] = []
  exchange.apply({ append: (name, value) => lines.push(`${name}: ${value}`) }, 200)
  exchange.finish()
  seen.count(lines.length === 0 ? 'no answer' : 'an answer')
  const odd = lines.find(line => !/^[\x20-\x7e]{1,4000}$/.test(line))
  if (odd !== undefined) return { kind: 'crash', message: `it answers with what is no header: ${JSON.stringify(odd)}` }
  if (lines.length > MAX_LINES) return { kind: 'crash', message: `it answers with ${lines.length} headers` }
  return undefined
}
