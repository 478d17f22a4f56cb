import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'

/** What is more than the dashboard ever takes. */
const MAX_BODY_BYTES = 65_536

/** Serves a Fetch-API handler from Node's own server, and from what is built on it (Express, Koa's `ctx.req` and `ctx.res`). */
export function toNodeListener(
  handler: (request: Request) => Promise<Response>,
): (request: IncomingMessage, response: ServerResponse) => void {
  return (incoming, outgoing) => {
    serve(handler, incoming, outgoing).catch(() => {
      if (outgoing.headersSent) outgoing.destroy()
      else outgoing.writeHead(500, { 'content-type': 'text/plain' }).end('internal error')
    })
  }
}

async function serve(
  handler: (request: Request) => Promise<Response>,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  const gone = new AbortController()
  outgoing.once('close', () => gone.abort())
  const { method = 'GET' } = incoming
  // Of these Fetch makes no request.
  if (['TRACE', 'TRACK', 'CONNECT'].includes(method.toUpperCase())) {
    outgoing.writeHead(405).end()
    return
  }
  const hasBody = method !== 'GET' && method !== 'HEAD'
  const request = new Request(new URL(pathOf(incoming), 'http://localhost'), {
    method,
    headers: { 'content-type': incoming.headers['content-type'] ?? '' },
    signal: gone.signal,
    ...(hasBody && { body: await bodyOf(incoming) }),
  })
  const response = await handler(request)
  outgoing.writeHead(response.status, Object.fromEntries(response.headers))
  if (response.body === null || method === 'HEAD') {
    outgoing.end()
    return
  }
  const body = Readable.fromWeb(response.body as import('node:stream/web').ReadableStream)
  outgoing.once('close', () => body.destroy())
  body.on('error', () => outgoing.destroy())
  body.pipe(outgoing)
}

/** Express keeps the whole path apart from the one below its mount. */
function pathOf(incoming: IncomingMessage & { readonly originalUrl?: string }): string {
  const path = incoming.originalUrl ?? incoming.url ?? '/'
  // "//host/path" would be taken for another host.
  return `/${path.replace(/^\/+/, '')}`
}

async function bodyOf(incoming: IncomingMessage & { readonly body?: unknown }): Promise<string | Uint8Array<ArrayBuffer>> {
  // What stands before it, such as `express.json()`, may have read it already.
  if (incoming.readableEnded) return typeof incoming.body === 'string' ? incoming.body : JSON.stringify(incoming.body ?? '')
  const chunks: Uint8Array[] = []
  let bytes = 0
  // To its end: leaving early would cut the connection, and nobody would read the answer. What is too much is not kept.
  for await (const chunk of incoming) {
    if (bytes <= MAX_BODY_BYTES) chunks.push(chunk as Uint8Array)
    bytes += (chunk as Uint8Array).length
  }
  return Uint8Array.from(Buffer.concat(chunks))
}
