import type { Position, PositionEntry } from '../../core/position.js'
import { TokenCodec } from '../../core/token/codec.js'
import { MAX_TOKEN_LENGTH, readLayout, TokenRejectedError, type TokenRejection } from '../../core/token/layout.js'
import { formatLsn } from '../../engines/postgres/lsn.js'

/** One point of a log, as PostgreSQL writes it where it is one of PostgreSQL's. */
export interface TokenPosition {
  readonly lineage: string
  readonly system?: string
  readonly timeline?: number
  readonly lsn?: string
  /** Decimal: 64 bits do not fit a JSON number. */
  readonly offset: string
}

export type Verification =
  | { readonly signature: 'not-checked' }
  | { readonly signature: 'valid' }
  | { readonly signature: 'refused'; readonly reason: TokenRejection; readonly message: string }

/** What a token says. */
export type ExplainedToken = Verification & {
  readonly version: number
  readonly keyId: string
  readonly issuedAt: string
  readonly ageMs: number
  readonly bound: boolean
  readonly uncertain: boolean
  readonly writes: readonly TokenPosition[]
  readonly reads: readonly TokenPosition[]
}

export interface ExplainOptions {
  /** Without it nothing is verified. */
  readonly secret?: string | undefined
  /** Whom the token should be bound to. */
  readonly user?: string | undefined
  /** Milliseconds since 1970. */
  readonly now: number
}

/**
 * Decodes a token; a refused signature is part of the answer. Throws {@link TokenRejectedError} when the text is not a
 * token at all, `ConfigurationError` when the secret cannot be one.
 */
export function explainToken(token: string, { secret, user, now }: ExplainOptions): ExplainedToken {
  const bytes = bytesOf(token)
  const content = readLayout(bytes)
  const { history, issuedAt, keyId, binding } = content
  return {
    version: bytes[0]!,
    keyId: Buffer.from(keyId).toString('hex'),
    issuedAt: new Date(issuedAt).toISOString(),
    ageMs: now - issuedAt,
    bound: binding !== undefined,
    uncertain: history.uncertain,
    writes: positionsOf(history.writes),
    reads: positionsOf(history.reads),
    ...verify(token, secret, user),
  }
}

function bytesOf(token: string): Uint8Array {
  if (token.length > MAX_TOKEN_LENGTH) {
    throw new TokenRejectedError('oversized', `a token has at most ${MAX_TOKEN_LENGTH} characters, this has ${token.length}`)
  }
  if (!/^[\w-]+$/.test(token)) throw new TokenRejectedError('malformed', 'a token consists of letters, digits, "-" and "_"')
  return Buffer.from(token, 'base64url')
}

function verify(token: string, secret: string | undefined, user: string | undefined): Verification {
  if (secret === undefined) return { signature: 'not-checked' }
  try {
    new TokenCodec({ secret }).decode(token, { boundTo: user })
    return { signature: 'valid' }
  } catch (error) {
    if (!(error instanceof TokenRejectedError)) throw error
    // The user is compared last. Where none was asked about, that is no reason to refuse.
    if (error.reason === 'other-user' && user === undefined) return { signature: 'valid' }
    return { signature: 'refused', reason: error.reason, message: error.message }
  }
}

function positionsOf(position: Position): TokenPosition[] {
  return position.entries.map(positionOf)
}

/** PostgreSQL's lineages are `<system id>/<timeline>`; other engines have their own. */
function positionOf({ lineage, offset }: PositionEntry): TokenPosition {
  const [, system, timeline] = /^(\d+)\/(\d+)$/.exec(lineage) ?? []
  if (system === undefined) return { lineage, offset: String(offset) }
  return { lineage, system, timeline: Number(timeline), lsn: formatLsn(offset), offset: String(offset) }
}
