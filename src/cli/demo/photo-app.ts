/** The photo-sharing application: post, own profile, feed. It does not know which policy answers its reads. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Html } from './html.js'
import { outageOf } from './outage.js'
import { failurePage, feedPage, type Photo, profilePage, type Shown } from './pages.js'
import type { Answer, Policy, Store } from './policies.js'
import { readForm, redirect, sendHtml, sendText, sendUnavailable } from './respond.js'
import type { Scoreboard } from './scoreboard.js'
import { authorOf, type LastPost, MAX_CAPTION_LENGTH, rememberPost, visitorOf } from './visitor.js'

/** Photos on a page. */
const PAGE_SIZE = 12
const PROFILE = 'select id, author, caption from photos where author = $1 order by id desc limit $2'
const FEED = 'select id, author, caption from photos order by id desc limit $1'

interface PhotoRow extends Photo {
  readonly id: number
  readonly author: string
}

export interface PhotoAppContext {
  readonly policy: Policy
  readonly scoreboard: Scoreboard
  /** The node that is the primary now. */
  readonly primary: string
}

type Route = (req: IncomingMessage, res: ServerResponse, store: Store, context: PhotoAppContext) => Promise<void>

/** By method and path. */
export const photoRoutes: Readonly<Record<string, Route>> = {
  'POST /photos': postPhoto,
  'GET /me': showProfile,
  'GET /feed': showFeed,
}

async function postPhoto(req: IncomingMessage, res: ServerResponse, store: Store, context: PhotoAppContext) {
  const { policy, scoreboard } = context
  const caption = (await readForm(req)).get('caption')?.trim() ?? ''
  // Counted like the browser's maxlength: in UTF-16 units. A null character is one that PostgreSQL cannot store.
  if (caption === '' || caption.length > MAX_CAPTION_LENGTH || caption.includes('\0')) {
    return sendText(res, 400, `A caption has 1 to ${MAX_CAPTION_LENGTH} characters.`)
  }
  const author = authorOf(req, res)
  const sql = 'insert into photos (author, caption) values ($1, $2) returning id'
  const written = await answered(() => store.write<{ id: number }>(sql, [author, caption]), 'Your post failed', res, context)
  if (written === undefined) return
  scoreboard.wrote(policy.name)
  rememberPost(res, { policy: policy.name, id: written[0]!.id, caption, reportedLost: false })
  redirect(res, '/me')
}

async function showProfile(req: IncomingMessage, res: ServerResponse, store: Store, context: PhotoAppContext) {
  const author = authorOf(req, res)
  await show(req, res, context, () => store.read<PhotoRow>(PROFILE, [author, PAGE_SIZE], 'profile'), profilePage)
}

async function showFeed(req: IncomingMessage, res: ServerResponse, store: Store, context: PhotoAppContext) {
  await show(req, res, context, () => store.read<PhotoRow>(FEED, [PAGE_SIZE]), feedPage)
}

async function show(
  req: IncomingMessage,
  res: ServerResponse,
  context: PhotoAppContext,
  read: () => Promise<Answer<PhotoRow>>,
  page: (shown: Shown) => Html,
) {
  const { policy, scoreboard, primary } = context
  const { author, lastPost } = visitorOf(req)
  const own = lastPost?.policy === policy.name ? lastPost : undefined
  const startedAt = performance.now()
  const answer = await answered(read, 'This read failed', res, context)
  if (answer === undefined) return
  const { rows, node, possiblyLost } = answer
  const elapsedMs = performance.now() - startedAt
  const missing = own !== undefined && isMissing(own, author, rows) ? own : undefined
  const lost = missing !== undefined && (possiblyLost || missing.reportedLost)
  // Tidemark reports once, and goes on from there; whoever has been told is not misled by what later answers lack.
  if (lost && !missing.reportedLost) rememberPost(res, { ...missing, reportedLost: true })
  const onPrimary = node === primary
  const missed = missing !== undefined && !lost
  scoreboard.read(policy.name, { node, onPrimary, elapsedMs, byAuthor: own !== undefined, missed, lossReported: possiblyLost })
  sendHtml(res, page({ photos: rows, missing, lost, hasPosted: own !== undefined, node, onPrimary, elapsedMs }))
}

/** What the store answers; when the cluster cannot answer now, that is counted and said, and this is `undefined`. */
async function answered<R>(ask: () => Promise<R>, what: string, res: ServerResponse, { policy, scoreboard }: PhotoAppContext) {
  try {
    return await ask()
  } catch (error) {
    scoreboard.failed(policy.name)
    const reason = outageOf(error)
    if (reason === undefined) throw error
    sendUnavailable(res, failurePage(what, reason))
    return undefined
  }
}

/**
 * A page shows the newest photos: one that is older than all on a full page has rightly made room. The number alone does
 * not tell: after a failover that lost a photo, its number may be given to another.
 */
function isMissing({ id, caption }: LastPost, author: string | undefined, rows: readonly PhotoRow[]): boolean {
  const madeRoom = rows.length === PAGE_SIZE && rows.at(-1)!.id > id
  return !madeRoom && !rows.some(row => row.id === id && row.author === author && row.caption === caption)
}
