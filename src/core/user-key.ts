import { createHash } from 'node:crypto'

/**
 * What shared stores file a user under: 64 hexadecimal digits (SHA-256), whatever the user id is. So any text fits a bounded column or
 * key, characters that a server does not take (NUL in PostgreSQL) or gives a meaning do not reach it, and ids, which are
 * often mail addresses, are not lying about in another server.
 *
 * Of the UTF-16 code units, not of UTF-8: there all lone surrogates become the same character, and two users one.
 */
export function userKey(user: string): string {
  return createHash('sha256').update(Buffer.from(user, 'utf16le')).digest('hex')
}
