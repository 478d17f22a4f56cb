/**
 * What servers and clients agree on. Free of Node's modules: browsers load this.
 *
 * A client holds a *set* of tokens, not one. Every issued token has a name of its own, made from its signature, and an
 * answer names exactly the tokens that its new one includes. That is an observed-remove set:
 *
 * - Two concurrent answers add two elements; neither overwrites the other, whichever arrives last. (With one fixed slot the
 *   last arrival wins, and when it belongs to the request that did not see the other's write, that write is forgotten.)
 * - A name's content never changes, and the answer that removes a name brings the token that includes that content. So a
 *   removal that arrives late, twice, or out of a cache can only remove what the same answer has replaced.
 */
import { includesHistory, isHidden } from '../core/history.js'
import { MAX_TOKEN_LENGTH, readLayout, type TokenContent } from '../core/token/layout.js'

/** The request and response header that carries tokens, for clients without cookies. Several are separated by commas. */
export const TOKEN_HEADER = 'Tidemark-Token'

/** `Tidemark-Token-Replaces` lists the names of the tokens that the token in the same response includes. */
export const REPLACES_SUFFIX = '-Replaces'

/** Tokens read from one carrier of one request, and tokens held by one client. Browsers seldom have as many requests in flight. */
export const MAX_TOKENS = 32

/**
 * `uncertain-<name>` in place of a token: the client had to let go of tokens. A server that accepts at least one token
 * beside it takes the session as uncertain. Alone it does nothing, or anybody could send reads to the primary with it.
 */
export const UNCERTAIN_PREFIX = 'uncertain-'

export function isMark(text: string): boolean {
  return text.startsWith(UNCERTAIN_PREFIX)
}

export const NAME_LENGTH = 8
const TOKEN_TEXT = new RegExp(`^[\\w-]{${NAME_LENGTH},${MAX_TOKEN_LENGTH}}$`)

/** Whether this could be a token, or a mark in place of one. */
export function isTokenText(text: string): boolean {
  return TOKEN_TEXT.test(text)
}

/** The end of the signature: 48 bits that differ from token to token, and are valid in a cookie's name. */
export function tokenName(token: string): string {
  return token.slice(-NAME_LENGTH)
}

/** The items of a comma separated header. */
export function listItems(value: string | null): string[] {
  const items = value?.split(',').map(item => item.trim()) ?? []
  return items.filter(item => item !== '')
}

/** What a token says, its signature unchecked; `undefined` when it is not a token. */
export function readToken(token: string): TokenContent | undefined {
  if (!isTokenText(token)) return undefined
  try {
    const binary = atob(token.replaceAll('-', '+').replaceAll('_', '/'))
    const bytes = new Uint8Array(binary.length)
    for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i)
    return readLayout(bytes)
  } catch {
    return undefined
  }
}

/** Whether both are signed with the same key and bound to the same user (or to none): who accepts one accepts the other. */
export function sameAudience(a: TokenContent, b: TokenContent): boolean {
  return sameBytes(a.keyId, b.keyId) && sameBytes(a.binding, b.binding)
}

/**
 * Whether `old` says nothing that `stays` does not say too. An uncertain one always does: what settles one doubt may know
 * nothing of another, so doubts are only removed by name, by an answer to a request that brought them. Nor is a position included
 * that is hidden in a doubt: an answer to a request that brought the doubt alone removes it, and need not have that position.
 */
export function isIncluded(old: TokenContent, stays: TokenContent): boolean {
  return !old.history.uncertain && includesHistory(stays.history, old.history) && !isHidden(old.history, stays.history)
}

/** Whether `old` is bound to a user, and not to the one (or nobody) that `issued` is for, as far as can be told. */
export function isOfAnotherUser(old: TokenContent, issued: TokenContent): boolean {
  return old.binding !== undefined && sameBytes(old.keyId, issued.keyId) && !sameBytes(old.binding, issued.binding)
}

function sameBytes(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a?.length === b?.length && (a?.every((byte, i) => byte === b?.[i]) ?? true)
}
