import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Html } from './html.js'

const MAX_FORM_BYTES = 16_384

const SECURITY_HEADERS = {
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cache-Control': 'no-store',
}

export function send(res: ServerResponse, status: number, type: string, body: string): void {
  res.writeHead(status, { ...SECURITY_HEADERS, 'Content-Type': `${type}; charset=utf-8` }).end(body)
}

export function sendHtml(res: ServerResponse, page: Html): void {
  send(res, 200, 'text/html', page.text)
}

/** Not now: the cluster is in no state to answer. */
export function sendUnavailable(res: ServerResponse, page: Html): void {
  res.setHeader('Retry-After', '1')
  send(res, 503, 'text/html', page.text)
}

export function sendText(res: ServerResponse, status: number, text: string): void {
  send(res, status, 'text/plain', `${text}\n`)
}

/** "See other": the browser reads what it has just written. */
export function redirect(res: ServerResponse, location: string): void {
  res.writeHead(303, { ...SECURITY_HEADERS, Location: location }).end()
}

/** Begins a stream of server-sent events. */
export function sendEventStream(res: ServerResponse): void {
  res.writeHead(200, { ...SECURITY_HEADERS, 'Content-Type': 'text/event-stream' })
}

/** The request's fields. Rejects when there is more than a form of this application can be. */
export async function readForm(req: IncomingMessage): Promise<URLSearchParams> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of req as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > MAX_FORM_BYTES) throw new Error('the form is too large')
    chunks.push(chunk)
  }
  return new URLSearchParams(Buffer.concat(chunks).toString())
}
