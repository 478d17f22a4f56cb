import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { checkNumber } from '../check-number.js'
import { type Clock, systemClock } from '../clock.js'
import { ConfigurationError } from '../errors.js'
import type { History } from '../history.js'
import {
  BINDING_BYTES,
  KEY_ID_BYTES,
  layOut,
  MAX_TOKEN_LENGTH,
  readLayout,
  SIGNATURE_BYTES,
  type TokenContent,
  TokenRejectedError,
} from './layout.js'

/** A signed, URL- and cookie-safe text of at most 256 characters that carries a session's history. */
export type ConsistencyToken = string

export interface TokenCodecOptions {
  /**
   * The signing secret, at least 16 bytes; or several: the first signs, all are accepted. To rotate: deploy
   * `[old, new]` everywhere, then `[new, old]`, then `[new]` once no token signed with `old` matters any more.
   */
  readonly secret: string | readonly string[]
  readonly clock?: Clock
  /** How far the clocks of the hosts that share the secret may differ before a token counts as "from the future". Default 60 000. */
  readonly maxClockSkewMs?: number
}

export interface TokenOptions {
  /** The user or tenant the token belongs to; it is then only accepted for the same one. */
  readonly boundTo?: string | undefined
}

interface Key {
  readonly id: Uint8Array
  readonly secret: Buffer
  /** Bindings by user, which requests of the same user need again and again. */
  readonly bindings: LRUCache<string, Buffer>
}

const MAX_BINDINGS = 1_000
const MAX_GENUINE = 2_000

/** A token signed with a key of ours. One that was issued here may never come back: what it says is read when it does. */
class Genuine {
  readonly key: Key
  readonly #bytes: Uint8Array
  #content: TokenContent | undefined

  constructor(key: Key, bytes: Uint8Array) {
    this.key = key
    this.#bytes = bytes
  }
  get content(): TokenContent {
    this.#content ??= { ...readLayout(this.#bytes), keyId: this.key.id }
    return this.#content
  }
}

const MIN_SECRET_BYTES = 16

/**
 * Issues and checks tokens. HMAC-SHA-256 (RFC 2104) cut to its first 128 bits, compared in constant time.
 *
 * A token that is malformed, oversized, signed with a key that is not known here, altered, bound to somebody else, or
 * issued in the future is refused before anything it says is used: it can cause no wait and no load on a database.
 */
export class TokenCodec {
  readonly #keys: readonly Key[]
  readonly #clock: Clock
  readonly #maxClockSkewMs: number
  /**
   * Genuine tokens, which clients bring with request after request until they write again. Whether a text is signed with a key of ours,
   * and what it says, depends on nothing but the text and the keys, which stay: so it may be remembered, for whoever brings it. For whom
   * it is bound, and when it was issued, is looked at each time. Kept are those issued here, by the text that was signed, and those that
   * were verified; what is refused is not: it drives nothing out.
   */
  readonly #genuine = new LRUCache<ConsistencyToken, Genuine>({ max: MAX_GENUINE })

  constructor(options: TokenCodecOptions) {
    const secrets = typeof options.secret === 'string' ? [options.secret] : options.secret
    if (!Array.isArray(secrets))
      throw new ConfigurationError(`secret must be a text, or a list of texts, not of type ${typeof secrets}`)
    if (secrets.length === 0) throw new ConfigurationError('secret is an empty list; give at least one signing secret')
    this.#keys = secrets.map(deriveKey)
    this.#clock = options.clock ?? systemClock
    this.#maxClockSkewMs = options.maxClockSkewMs ?? 60_000
    checkNumber('maxClockSkewMs', this.#maxClockSkewMs, { min: 0 })
  }

  encode(history: History, options: TokenOptions = {}): ConsistencyToken {
    const key = this.#keys[0]!
    const bytes = layOut({
      history,
      issuedAt: this.#clock.wallNow(),
      keyId: key.id,
      binding: options.boundTo === undefined ? undefined : bind(key, options.boundTo),
    })
    const body = bytes.subarray(0, bytes.length - SIGNATURE_BYTES)
    bytes.set(sign(key, body), body.length)
    const token = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64url')
    this.#genuine.set(token, new Genuine(key, bytes))
    return token
  }

  /**
   * The history that the token carries. Throws {@link TokenRejectedError} otherwise, and nothing else.
   * A bound token is refused for another user and for no user; an unbound one is accepted for anybody.
   */
  decode(token: ConsistencyToken, options: TokenOptions = {}): History {
    return this.open(token, options).history
  }

  /** @internal As `decode`: all that the token says. */
  open(token: ConsistencyToken, options: TokenOptions = {}): TokenContent {
    // What a client sent may have passed a parser of query strings or JSON on its way here, and be anything.
    if (typeof token !== 'string') throw new TokenRejectedError('malformed', `a token is a text, not of type ${typeof token}`)
    if (token.length > MAX_TOKEN_LENGTH) {
      throw new TokenRejectedError('oversized', `a token has at most ${MAX_TOKEN_LENGTH} characters, not ${token.length}`)
    }
    const { content, key } = this.#genuine.get(token) ?? this.#verified(token)
    this.#check(content, key, options)
    return content
  }

  #verified(token: ConsistencyToken): Genuine {
    const bytes = Buffer.from(token, 'base64url')
    // Buffer.from is lenient about foreign characters and spare bits: many texts would then mean the same token.
    if (bytes.toString('base64url') !== token) throw new TokenRejectedError('malformed', 'not canonical base64url')
    const content = readLayout(bytes)
    const key = this.#keys.find(candidate => candidate.id.every((byte, i) => byte === content.keyId[i]))
    if (key === undefined) throw new TokenRejectedError('unknown-key', 'signed with a key that is not accepted here')
    const body = bytes.subarray(0, bytes.length - SIGNATURE_BYTES)
    if (!timingSafeEqual(sign(key, body), bytes.subarray(body.length))) {
      throw new TokenRejectedError('bad-signature', 'the signature does not fit: the token was altered')
    }
    // A copy: the bytes are part of a larger piece of memory, which is not to be kept.
    const genuine = new Genuine(key, Uint8Array.from(bytes))
    this.#genuine.set(token, genuine)
    return genuine
  }

  #check(content: TokenContent, key: Key, options: TokenOptions): void {
    if (content.issuedAt > this.#clock.wallNow() + this.#maxClockSkewMs) {
      throw new TokenRejectedError('from-the-future', 'issued later than now; are the clocks of the hosts in step?')
    }
    if (content.binding === undefined) return
    if (options.boundTo === undefined || !timingSafeEqual(bind(key, options.boundTo), content.binding)) {
      throw new TokenRejectedError('other-user', 'the token is bound to another user')
    }
  }
}

function deriveKey(secret: string): Key {
  if (typeof secret !== 'string' || Buffer.byteLength(secret) < MIN_SECRET_BYTES) {
    throw new ConfigurationError(
      `secret must be a text of at least ${MIN_SECRET_BYTES} bytes; make one with: node -p "crypto.randomBytes(32).toString('base64url')"`,
    )
  }
  // The id is derived, so that rotating needs no second setting; a hash of the secret under a label reveals nothing of it.
  const id = createHash('sha256').update('tidemark key id\0').update(secret).digest().subarray(0, KEY_ID_BYTES)
  return { id, secret: Buffer.from(secret), bindings: new LRUCache({ max: MAX_BINDINGS }) }
}

function sign(key: Key, body: Uint8Array): Buffer {
  return createHmac('sha256', key.secret).update(body).digest().subarray(0, SIGNATURE_BYTES)
}

/** Keyed, so that a token does not give away a guessable user id. */
function bind(key: Key, boundTo: string): Buffer {
  const known = key.bindings.get(boundTo)
  if (known !== undefined) return known
  // UTF-16 code units, not UTF-8: there all lone surrogates become the same character, and two users one.
  const hmac = createHmac('sha256', key.secret).update('tidemark binding\0').update(Buffer.from(boundTo, 'utf16le'))
  const binding = hmac.digest().subarray(0, BINDING_BYTES)
  key.bindings.set(boundTo, binding)
  return binding
}

/**
 * The secret to use when none was configured: refuses in production, where tokens must survive restarts and be shared by
 * all processes; otherwise a random one, and `warn` is called once.
 */
export function secretOrRandom(
  secret: string | readonly string[] | undefined,
  warn: (message: string) => void,
): string | readonly string[] {
  if (secret !== undefined && secret !== '') return secret
  const advice = 'set one with at least 16 bytes (the same in all processes), for example in TIDEMARK_SECRET'
  if (process.env.NODE_ENV === 'production')
    throw new ConfigurationError(`no secret is configured and NODE_ENV is production: ${advice}`)
  warn(`no secret is configured; using a random one, so tokens end with this process. For anything but development ${advice}.`)
  return randomBytes(32).toString('base64url')
}
