/**
 * The way of tokens into and out of a request, for any framework. Why a client holds several tokens, each under its own
 * name, is told in carrier.ts.
 */
import { checkGuarantee, checkLadder } from '../core/check-strategy.js'
import { ConfigurationError } from '../core/errors.js'
import { publish } from '../core/events.js'
import { EMPTY_HISTORY, type History, includesHistory, sameHistory } from '../core/history.js'
import type { Session, SessionOptions, Tokens } from '../core/session.js'
import { shown } from '../core/shown.js'
import {
  isIncluded,
  isMark,
  isOfAnotherUser,
  isTokenText,
  listItems,
  MAX_TOKENS,
  REPLACES_SUFFIX,
  readToken,
  sameAudience,
  TOKEN_HEADER,
  tokenName,
} from './carrier.js'
import { type CookieOptions, TokenCookies } from './cookies.js'

/** A session that can be the one in scope while something runs. */
export interface HttpSession extends Session {
  run<T>(fn: () => T): T
}

/** The part of a database that this layer needs. */
export interface HttpDatabase<S extends HttpSession = HttpSession> {
  session(tokens?: Tokens, options?: SessionOptions): S
}

export interface ExchangeOptions extends Pick<SessionOptions, 'guarantee' | 'ladder'> {
  /**
   * How new tokens go out; they are read from both. `auto` answers the way the client asked: by header when the request
   * has the token header (it may be empty), by cookie when it has token cookies or nothing. Default `auto`.
   */
  readonly carrier?: 'auto' | 'cookie' | 'header' | 'both'
  /** The name of the header; each database needs its own. Default `Tidemark-Token`. */
  readonly header?: string
  readonly cookie?: CookieOptions
}

/** What is known of the client besides its headers. */
export interface Client {
  /** The authenticated user; `undefined`, `null` and `''` mean nobody in particular. */
  readonly user?: UserId
  /** Whether the client speaks TLS, as far as is known. Default false. */
  readonly overTls?: boolean
}

export type UserId = string | number | bigint | null | undefined

/** The Fetch API's `Headers`, or anything that answers like it. */
export interface HeaderReader {
  get(name: string): string | null
}
export interface HeaderWriter {
  append(name: string, value: string): void
}

const CARRIERS: readonly unknown[] = ['auto', 'cookie', 'header', 'both']

/** One request's session and its way back to the client. */
export interface Exchange<S extends HttpSession = HttpSession> {
  readonly session: S
  /**
   * To be called when the response's headers are about to be sent. Appends what the client needs to know, and nothing
   * when there is no news. A history that changes later is not delivered.
   */
  apply(headers: HeaderWriter, status?: number): void
  /** To be called when the response has ended or the client has gone: warns of a write that the client was not told of. */
  finish(): void
}

/**
 * Prepares exchanges of one database. Throws {@link ConfigurationError} when the options cannot work; the function that
 * comes back throws nothing that a client could cause, waits for nothing, and looks at a bounded number of tokens.
 *
 * ```ts
 * const open = tokenExchange(db)
 * const exchange = open(request.headers, { user })
 * const response = await exchange.session.run(() => handle(request))
 * exchange.apply(response.headers, response.status)
 * ```
 */
export function tokenExchange<S extends HttpSession>(
  db: HttpDatabase<S>,
  options: ExchangeOptions = {},
): (request: HeaderReader, client?: Client) => Exchange<S> {
  const { header = TOKEN_HEADER, guarantee, ladder } = options
  if (typeof header !== 'string' || !/^[\w-]+$/.test(header)) {
    throw new ConfigurationError(`header must be the name of an HTTP header, not ${shown(header)}`)
  }
  if (options.carrier !== undefined && !CARRIERS.includes(options.carrier)) {
    throw new ConfigurationError(`carrier must be one of ${CARRIERS.join(', ')}, not ${shown(options.carrier)}`)
  }
  if (ladder !== undefined) checkLadder('ladder', ladder)
  if (guarantee !== undefined) checkGuarantee('guarantee', guarantee)
  const cookies = new TokenCookies(options.cookie)

  return (request, client = {}) => {
    const received = receive(request, header, cookies)
    const session = db.session(received.tokens, { user: userOf(client), guarantee, ladder })
    let told = session.history
    // There are tokens that were not read, so there may be a write that is not known. Only whoever has an acceptable token
    // is believed: to send reads to the primary must take more than a heap of garbage.
    const believed = received.incomplete && !isEmpty(told)
    if (believed) session.doubt()
    const { doubts } = session
    // With a token store the user's writes are known without the client's help.
    const stored = session.arriving !== undefined

    function apply(response: HeaderWriter, status = 200): void {
      if (session.ended) {
        drop(response)
        return
      }
      // A doubt of this request's own needs a token of its own, also when the session was uncertain before: what settles
      // the received one concurrently knows nothing of this one.
      const changed = session.changed || session.doubts !== doubts
      const token = changed ? session.token() : replacement(session, received.tokens)
      if (token === undefined) return
      told = session.history
      const by = carriersOf(options.carrier ?? 'auto', received, status)
      if (by.cookie) {
        const overTls = client.overTls ?? false
        if (!received.cookies.includes(token)) response.append('Set-Cookie', cookies.add(token, overTls))
        for (const old of replacedBy(session, token, received.cookies))
          response.append('Set-Cookie', cookies.remove(old, overTls))
      }
      if (by.header) {
        response.append(header, token)
        const old = [...replacedBy(session, token, received.header), ...(believed ? received.marks : [])]
        if (old.length > 0) response.append(header + REPLACES_SUFFIX, old.map(tokenName).join(', '))
      }
    }

    /** The user logs out: whoever uses this client next carries nothing of theirs. Tokens of other users stay. */
    function drop(response: HeaderWriter): void {
      const own = readToken(session.token())
      const overTls = client.overTls ?? false
      // No token stays that could include what another user wrote.
      const goes = (text: string) => {
        const old = readToken(text)
        return old === undefined || own === undefined || !isOfAnotherUser(old, own)
      }
      for (const old of received.cookies.filter(goes)) response.append('Set-Cookie', cookies.remove(old, overTls))
      const listed = received.header.filter(goes)
      if (listed.length > 0) response.append(header + REPLACES_SUFFIX, listed.map(tokenName).join(', '))
    }

    function finish(): void {
      const { history } = session
      if (stored || session.ended || (includesHistory(told, history) && (told.uncertain || !history.uncertain))) return
      publish('tidemark:warning', () => ({
        db: session.db,
        message:
          'a session wrote after the headers of its response had been sent, or its client had gone: the client has no token for that write. Write before the response begins, or configure a token store',
      }))
    }

    return { session, apply, finish }
  }
}

interface Received {
  /** The client asks to be answered by header. */
  readonly asked: boolean
  readonly cookies: readonly string[]
  readonly header: readonly string[]
  /** All of them, each once. */
  readonly tokens: readonly string[]
  /** In place of tokens that the client let go of. */
  readonly marks: readonly string[]
  /** The client has, or had, tokens that are not among these. */
  readonly incomplete: boolean
}

function receive(request: HeaderReader, headerName: string, tokenCookies: TokenCookies): Received {
  const listed = request.get(headerName)
  const items = listItems(listed).filter(isTokenText)
  const inHeader = items.filter(item => !isMark(item))
  const inCookies = tokenCookies.read(request.get('Cookie'))
  // The newest: browsers and our own client send the oldest first.
  const header = inHeader.slice(-MAX_TOKENS)
  const cookies = inCookies.slice(-MAX_TOKENS)
  const marks = items.filter(isMark).slice(-MAX_TOKENS)
  return {
    asked: listed !== null,
    cookies,
    header,
    tokens: [...new Set([...cookies, ...header])],
    marks,
    incomplete: marks.length > 0 || inHeader.length > MAX_TOKENS || inCookies.length > MAX_TOKENS,
  }
}

function userOf({ user }: Client): string | undefined {
  return user === undefined || user === null || user === '' ? undefined : String(user)
}

function carriersOf(option: NonNullable<ExchangeOptions['carrier']>, received: Received, status: number) {
  if (option !== 'auto') return { cookie: option !== 'header', header: option !== 'cookie' }
  // Who follows a redirect by itself (fetch) never shows its headers; a cookie gets through.
  const isRedirect = status >= 300 && status < 400
  return { cookie: !received.asked || isRedirect || received.cookies.length > 0, header: received.asked }
}

function isEmpty(history: History): boolean {
  return sameHistory(history, EMPTY_HISTORY)
}

/**
 * The token that replaces the received ones although the session has nothing new; `undefined` when that is no gain.
 * Refused tokens alone are no reason to answer.
 */
function replacement(session: HttpSession, received: readonly string[]): string | undefined {
  if (received.length < 2 || isEmpty(session.history)) return undefined
  const issued = session.token()
  const wanted = readToken(issued)
  // A doubt is not settled by value: a concurrent answer may settle one token's, and know nothing of the others'.
  if (wanted === undefined || wanted.history.uncertain) return issued
  // If one of them says it all, that one stays and none is issued: of requests that come together each would issue its
  // own, and the client would never get down to a single one. Never one that was refused: what it says, nobody has vouched for,
  // and the client would be left with a token that is refused from here on.
  const sufficient = session.accepted.filter(text => {
    const content = readToken(text)
    return (
      content !== undefined &&
      sameAudience(content, wanted) &&
      sameHistory(content.history, wanted.history) &&
      content.issuedAt <= wanted.issuedAt
    )
  })
  return sufficient.sort()[0] ?? issued
}

/**
 * The tokens that `issued` replaces: those the session has joined, and the refused ones, or clients would send them for
 * ever. But what another user wrote in the same browser is kept until a token includes it, for when that user comes back.
 * (Keys are rotated such that tokens that matter are accepted everywhere: those refused for their key may go.)
 */
function replacedBy(session: HttpSession, issued: string, received: readonly string[]): string[] {
  const others = received.filter(text => text !== issued)
  // The rule. Those that were accepted are bound to nobody else, so the session has joined them and they need not be read again.
  if (others.every(text => session.accepted.includes(text))) return others
  const stays = readToken(issued)
  return others.filter(text => {
    const old = readToken(text)
    return old === undefined || stays === undefined || !isOfAnotherUser(old, stays) || isIncluded(old, stays)
  })
}
