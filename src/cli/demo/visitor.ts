/**
 * What the application's own cookies say of a visitor: who they are as an author, and which photo they posted last. The
 * latter is how a missed write is noticed: it is set by the very response that acknowledged the post, so a request that
 * carries it comes from somebody who has been told that the photo is there.
 */
import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { POLICY_NAMES, type PolicyName } from './scoreboard.js'

export const MAX_CAPTION_LENGTH = 80
const AUTHOR_COOKIE = 'tidemark-demo-author'
const LAST_POST_COOKIE = 'tidemark-demo-last-post'
const ATTRIBUTES = 'Path=/; HttpOnly; SameSite=Lax'

export interface LastPost {
  /** A write made under another policy is none of this one's business. */
  readonly policy: PolicyName
  readonly id: number
  readonly caption: string
  /** The author has been told that it may be lost, and it was gone. */
  readonly reportedLost: boolean
}

export interface Visitor {
  /** `undefined` for somebody who is no author: a follower. */
  readonly author: string | undefined
  readonly lastPost: LastPost | undefined
}

export function visitorOf(req: IncomingMessage): Visitor {
  const cookies = new Map(
    (req.headers.cookie ?? '').split(';').map(pair => {
      const [name = '', value = ''] = pair.trim().split('=', 2)
      return [name, value] as const
    }),
  )
  const author = cookies.get(AUTHOR_COOKIE)
  return {
    author: author !== undefined && /^[0-9a-f]{16}$/.test(author) ? author : undefined,
    lastPost: readLastPost(cookies.get(LAST_POST_COOKIE)),
  }
}

/** Makes the visitor an author, unless they are one. */
export function authorOf(req: IncomingMessage, res: ServerResponse): string {
  const { author } = visitorOf(req)
  if (author !== undefined) return author
  const fresh = randomBytes(8).toString('hex')
  res.appendHeader('Set-Cookie', `${AUTHOR_COOKIE}=${fresh}; ${ATTRIBUTES}`)
  return fresh
}

export function rememberPost(res: ServerResponse, { policy, id, caption, reportedLost }: LastPost): void {
  const value = encodeURIComponent(JSON.stringify([policy, id, caption, reportedLost]))
  res.appendHeader('Set-Cookie', `${LAST_POST_COOKIE}=${value}; ${ATTRIBUTES}`)
}

/** It comes from outside: anything else than what {@link rememberPost} writes counts as nothing. */
function readLastPost(value: string | undefined): LastPost | undefined {
  try {
    const [policy, id, caption, reportedLost] = JSON.parse(decodeURIComponent(value ?? '')) as unknown[]
    const known = POLICY_NAMES.find(name => name === policy)
    if (known === undefined || !Number.isSafeInteger(id) || typeof caption !== 'string') return undefined
    return { policy: known, id: id as number, caption: caption.slice(0, MAX_CAPTION_LENGTH), reportedLost: reportedLost === true }
  } catch {
    return undefined
  }
}
