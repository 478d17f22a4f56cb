/**
 * One Fetch-API handler that shows what a database of Tidemark does: mount it in any framework, **behind the application's own
 * authentication**. It has none of its own. It is read-only: nothing that a visitor can do changes anything.
 *
 * Its page comes with a strict content security policy and no inline script; what it shows it enters as text.
 */
import { type Clock, systemClock } from '../core/clock.js'
import type { Explanation } from '../core/explain.js'
import type { Observed } from '../core/observed.js'
import { asset } from './assets.js'
import { eventStream } from './event-stream.js'
import { Live, type ShownBudget } from './live.js'

/** What the dashboard needs of a database. */
export interface ShownDatabase extends Observed {
  /** Where a read of a client with this token would go now, and why. Changes nothing. */
  explain(token: string | undefined, options: { readonly user?: string | undefined }): Explanation
}

export interface DashboardOptions {
  /** Shown with its alerts when given: `errorBudget(db)`. */
  readonly budget?: ShownBudget
  /** Pages that may be open at once; beyond it the answer is 503. Default 50. */
  readonly maxClients?: number
  readonly clock?: Clock
}

export interface Dashboard {
  (request: Request): Promise<Response>
  /** Ends all open pages' streams, and the sampling. Idempotent. */
  close(): void
}

const MAX_BODY_BYTES = 16_384

const HEADERS = Object.freeze({
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-cache',
})

/** Mount it under any path: it looks only at what comes after the last slash. */
export function dashboard(db: ShownDatabase, options: DashboardOptions = {}): Dashboard {
  const { budget, maxClients = 50, clock = systemClock } = options
  const live = new Live(db, budget, clock)
  const streams = new Set<() => void>()
  let closed = false

  async function handle(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url)
    const name = pathname.slice(pathname.lastIndexOf('/') + 1)
    if (name === 'explain') return request.method === 'POST' ? explain(db, request) : notAllowed('POST')
    if (request.method !== 'GET' && request.method !== 'HEAD') return notAllowed('GET')
    if (name === 'events') {
      if (closed || streams.size >= maxClients) return busy(closed ? 'the dashboard is closed' : 'too many pages are open')
      return eventStream(live, streams, HEADERS, request)
    }
    const found = asset(name === '' ? 'index.html' : name)
    if (found !== undefined) {
      const { body, type } = await found
      return new Response(body, { headers: { ...HEADERS, 'content-type': type } })
    }
    // Relative addresses on the page need the slash at the end of where it is mounted. Without the dot, a name with a colon
    // would be an address of another site.
    return new Response(null, { status: 308, headers: { ...HEADERS, location: `./${name}/` } })
  }

  return Object.assign(handle, {
    close() {
      closed = true
      live.close()
      for (const end of [...streams]) end()
    },
  })
}

async function explain(db: ShownDatabase, request: Request): Promise<Response> {
  const json = (body: unknown, status = 200) => Response.json(body, { status, headers: HEADERS })
  // Nothing that a form of another site can send.
  if (!(request.headers.get('content-type') ?? '').startsWith('application/json')) return json({ error: 'send JSON' }, 415)
  const text = await request.text()
  if (text.length > MAX_BODY_BYTES) return json({ error: 'too long' }, 413)
  let asked: { readonly token?: unknown; readonly user?: unknown }
  try {
    asked = JSON.parse(text)
  } catch {
    return json({ error: 'not JSON' }, 400)
  }
  if (asked === null || typeof asked !== 'object') return json({ error: 'send an object' }, 400)
  const { token = '', user = '' } = asked
  if (typeof token !== 'string' || typeof user !== 'string') return json({ error: 'token and user are texts' }, 400)
  return json(db.explain(token === '' ? undefined : token, { user: user === '' ? undefined : user }))
}

function notAllowed(allow: string): Response {
  return new Response('method not allowed', { status: 405, headers: { ...HEADERS, allow } })
}

function busy(why: string): Response {
  return new Response(why, { status: 503, headers: { ...HEADERS, 'retry-after': '10' } })
}
