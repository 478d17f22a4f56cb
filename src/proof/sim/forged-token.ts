/** Tokens that must not be believed. */
import type { RequestStep } from './schedule.js'

/** A token as some response brought it. */
export interface IssuedToken {
  readonly text: string
  readonly user: string | undefined
}

/** `undefined` when no token has been issued yet from which such a one could be made. */
export function forge(
  how: NonNullable<RequestStep['forged']>,
  issued: readonly IssuedToken[],
  user: string | undefined,
): string | undefined {
  if (how === 'of-another-user') return issued.findLast(token => token.user !== undefined && token.user !== user)?.text
  const text = issued.at(-1)?.text
  if (text === undefined) return undefined
  if (how === 'cut') return text.slice(0, -12)
  // Within the signature, so that it has a name of its own in the client's set.
  const at = text.length - 6
  return text.slice(0, at) + (text[at] === 'A' ? 'B' : 'A') + text.slice(at + 1)
}
