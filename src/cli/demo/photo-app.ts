/** The photo-sharing application: post, own profile, feed. It does not know which policy answers its reads. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Html } from './html.js'
import { feedPage, type Photo, profilePage, type Shown } from './pages.js'
import type { Answer, Policy, Store } from './policies.js'
import { readForm, redirect, sendHtml, sendText } from './respond.js'
import type { Scoreboard } from './scoreboard.js'
import { authorOf, type LastPost, MAX_CAPTION_LENGTH, rememberPost, visitorOf } from './visitor.js'

/** Photos on a page. */
const PAGE_SIZE = 12
const PROFILE = 'select id, author, caption from photos where author = $1 order by id desc limit $2'
const FEED = 'select id, author, caption from photos order by id desc limit $1'

interface PhotoRow extends Photo {
  readonly id: number
}

export interface PhotoAppContext {
  readonly policy: Policy
  readonly scoreboard: Scoreboard
}

type Route = (req: IncomingMessage, res: ServerResponse, store: Store, context: PhotoAppContext) => Promise<void>

/** By method and path. */
export const photoRoutes: Readonly<Record<string, Route>> = {
  'POST /photos': postPhoto,
  'GET /me': showProfile,
  'GET /feed': showFeed,
}

async function postPhoto(req: IncomingMessage, res: ServerResponse, store: Store, { policy, scoreboard }: PhotoAppContext) {
  const caption = (await readForm(req)).get('caption')?.trim() ?? ''
  // Counted like the browser's maxlength: in UTF-16 units. A null character is one that PostgreSQL cannot store.
  if (caption === '' || caption.length > MAX_CAPTION_LENGTH || caption.includes('\0')) {
    return sendText(res, 400, `A caption has 1 to ${MAX_CAPTION_LENGTH} characters.`)
  }
  const author = authorOf(req, res)
  const sql = 'insert into photos (author, caption) values ($1, $2) returning id'
  const [row] = await store.write<{ id: number }>(sql, [author, caption])
  scoreboard.wrote(policy.name)
  rememberPost(res, { policy: policy.name, id: row!.id, caption })
  redirect(res, '/me')
}

async function showProfile(req: IncomingMessage, res: ServerResponse, store: Store, context: PhotoAppContext) {
  const author = authorOf(req, res)
  await show(req, res, context, () => store.read<PhotoRow>(PROFILE, [author, PAGE_SIZE]), profilePage)
}

async function showFeed(req: IncomingMessage, res: ServerResponse, store: Store, context: PhotoAppContext) {
  await show(req, res, context, () => store.read<PhotoRow>(FEED, [PAGE_SIZE]), feedPage)
}

async function show(
  req: IncomingMessage,
  res: ServerResponse,
  { policy, scoreboard }: PhotoAppContext,
  read: () => Promise<Answer<PhotoRow>>,
  page: (shown: Shown) => Html,
) {
  const { lastPost } = visitorOf(req)
  const own = lastPost?.policy === policy.name ? lastPost : undefined
  const startedAt = performance.now()
  const { rows, node } = await read()
  const elapsedMs = performance.now() - startedAt
  const missed = own !== undefined && isMissing(own, rows)
  scoreboard.read(policy.name, { node, elapsedMs, byAuthor: own !== undefined, missed })
  sendHtml(res, page({ photos: rows, missing: missed ? own : undefined, hasPosted: own !== undefined, node, elapsedMs }))
}

/** A page shows the newest photos: one that is older than all on a full page has rightly made room. */
function isMissing({ id }: LastPost, rows: readonly PhotoRow[]): boolean {
  const madeRoom = rows.length === PAGE_SIZE && rows.at(-1)!.id > id
  return !madeRoom && !rows.some(row => row.id === id)
}
