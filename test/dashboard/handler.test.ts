/** The dashboard's handler without a browser: what it answers, and what it bounds. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { connect } from 'node:net'
import { serve as honoServer } from '@hono/node-server'
import express from 'express'
import fastify from 'fastify'
import { Hono } from 'hono'
import Koa from 'koa'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Explanation } from '../../src/core/explain.js'
import { VirtualClock } from '../../src/core/virtual-clock.js'
import { dashboard, toNodeListener } from '../../src/dashboard/index.js'
import type { Tidemark } from '../../src/engines/postgres/index.js'
import { notReady } from '../../src/index.js'
import { type Cluster, startCluster } from '../../src/testing/index.js'
import { CompiledCli } from '../cli/compiled-cli.js'
import { openDatabase } from '../support/database.js'
import { type Served, serve } from './kit.js'

let cli: CompiledCli
let cluster: Cluster
let db: Tidemark
let served: Served

beforeAll(async () => {
  ;[cli, cluster] = await Promise.all([CompiledCli.compile(), startCluster({ replicas: 1 })])
  db = await openDatabase(cluster, { name: 'shop' })
  served = await serve(cli, db, { maxClients: 2 })
})
afterAll(async () => {
  await served?.stop()
  await db?.close()
  await cluster?.close()
  cli?.remove()
})

/** Bytes as they are, and what comes back. */
function raw(request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = ''
    connect(Number(new URL(served.url).port), '127.0.0.1')
      .setEncoding('utf8')
      .on('data', chunk => {
        answer += chunk
      })
      .on('end', () => resolve(answer))
      .on('error', reject)
      .write(request)
  })
}

const get = (path = '', init?: RequestInit) => fetch(new URL(path, served.url), { redirect: 'manual', ...init })
const explain = (body: unknown, headers: Record<string, string> = { 'content-type': 'application/json' }) =>
  get('explain', { method: 'POST', headers, body: typeof body === 'string' ? body : JSON.stringify(body) })

const said = async (body: unknown) => (await (await explain(body)).json()) as Explanation

/** The first `count` events of a stream. */
async function events(count: number): Promise<{ readonly event: string; readonly data: unknown }[]> {
  const response = await get('events')
  expect(response.headers.get('content-type')).toBe('text/event-stream')
  const found: { event: string; data: unknown }[] = []
  let text = ''
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream()) as unknown as AsyncIterable<string>) {
    text += chunk
    const parts = text.split('\n\n')
    text = parts.pop()!
    for (const part of parts) {
      const [, event, data] = /^event: (\w+)\ndata: (.*)$/s.exec(part) ?? []
      if (event !== undefined) found.push({ event, data: JSON.parse(data!) })
    }
    if (found.length >= count) break
  }
  return found
}

describe('what it serves', () => {
  test('a page with nothing inline and nothing from elsewhere, under a strict policy', async () => {
    const response = await get()
    const html = await response.text()
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8'])
    const policy = response.headers.get('content-security-policy')!
    expect(policy).toContain("default-src 'none'")
    expect(policy).not.toContain('unsafe')
    expect(html).not.toMatch(/<script(?![^>]*\bsrc=)|\bon\w+=|style="|https?:\/\//)
    const files = [...html.matchAll(/(?:src|href)="([^"#]+)"/g)].map(([, path]) => path!)
    expect(files.length).toBeGreaterThan(4)
    for (const file of files) expect([file, (await get(file)).status]).toEqual([file, 200])
  })

  test('its charts come from the package, with their licence', async () => {
    expect(await (await get('uplot.js')).text()).toMatch(/^\/\*![\s\S]*MIT License[\s\S]*Leon Sorokin/)
  })

  test('without the slash at the end it sends there; no file by any other name', async () => {
    const bare = await fetch(served.url.slice(0, -1), { redirect: 'manual' })
    expect([bare.status, bare.headers.get('location')]).toEqual([308, './tidemark/'])
    for (const name of ['..%2f..%2fpackage.json', 'constructor', '__proto__', 'live.js']) {
      expect((await get(name)).status).toBe(308)
    }
  })

  test('nor does any name lead to another site', async () => {
    for (const name of ['https:example.org', 'http:example.org', '//example.org', 'javascript:alert(1)']) {
      const asked = new URL(`./${name}`, served.url)
      const { headers } = await get(asked.href)
      expect(new URL(headers.get('location')!, asked).host).toBe(asked.host)
    }
  })

  test('only what it takes', async () => {
    expect((await get('', { method: 'DELETE' })).status).toBe(405)
    expect((await get('events', { method: 'POST' })).status).toBe(405)
    expect((await get('explain')).status).toBe(405)
    expect(
      (await raw(`TRACE ${new URL(served.url).pathname} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`)).slice(0, 12),
    ).toBe('HTTP/1.1 405')
  })
})

describe('the stream', () => {
  test('the past first, then the state each second', async () => {
    const [history, first, second] = await events(3)
    expect(history!.event).toBe('history')
    expect(first).toMatchObject({ event: 'state', data: { name: 'shop', alerts: [], budgets: [] } })
    const state = (first!.data as { nodes: { node: string; role: string }[] }).nodes
    expect(state.map(({ node, role }) => [node, role])).toEqual([
      ['primary', 'primary'],
      ['replica-1', 'replica'],
    ])
    const at = (event: typeof first) => (event!.data as { point: { at: number } }).point.at
    expect(at(second)).toBeGreaterThan(at(first))
    await expect(db.session(undefined, { ladder: [notReady({ retryAfterMs: 1 })] }).query('SELECT 1')).rejects.toThrow(
      /try again/,
    )
    const [, after] = await events(2)
    expect((after!.data as { numbers: { refused: number } }).numbers.refused).toBe(1)
  })

  test('no more of them than allowed; one that leaves makes room', async () => {
    const gone = new AbortController()
    const open = [await get('events', { signal: gone.signal }), await get('events')]
    expect(open.map(({ status }) => status)).toEqual([200, 200])
    const refused = await get('events')
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '10'])
    gone.abort()
    await expect.poll(async () => (await get('events', { method: 'HEAD' })).status).toBe(200)
    await open[1]!.body!.cancel()
  })

  test('who only asks for its head, or has gone already, takes no place', async () => {
    const page = dashboard(db, { maxClients: 1 })
    const events = (init?: RequestInit) => page(new Request('http://app/events', init))
    await events({ method: 'HEAD' })
    await events({ signal: AbortSignal.abort() })
    const open = await events()
    expect([open.status, (await events()).status]).toEqual([200, 503])
    page.close()
  })

  test('of a page that takes nothing nothing is kept for it', async () => {
    const clock = new VirtualClock()
    const large = { ...db, status: () => db.status(), stats: () => db.stats(), name: 'x'.repeat(300_000), waiting: 0 }
    const page = dashboard(large as unknown as Tidemark, { clock, maxClients: 1 })
    const stalled = await page(new Request('http://app/events'))
    await clock.advance(10_000)
    expect((await page(new Request('http://app/events'))).status).toBe(200)
    await expect(stalled.text()).rejects.toThrow('too slowly')
    page.close()
  })
})

describe('where a read would go', () => {
  test('a token of this database: to whoever has applied it', async () => {
    const session = db.session()
    await session.query('CREATE TABLE IF NOT EXISTS seen (id int)')
    await cluster.caughtUp()
    await expect.poll(async () => (await said({ token: session.token() })).answer).toBe('replica-1 would serve it.')
    await cluster.pause('replica-1')
    try {
      await session.query('INSERT INTO seen VALUES (1)')
      const behind = await said({ token: session.token() })
      expect(behind.needs).toMatch(/^It needs a node that has applied \d+\/1@\d+\.$/)
      expect(behind.steps[0]).toMatchObject({ rung: 'replica' })
      expect(behind.steps.map(step => step.says).join()).toContain('replica-1 is at')
    } finally {
      await cluster.resume('replica-1')
    }
  })

  test('one that is not, counts as none, and says why', async () => {
    expect((await said({ token: 'made up' })).needs).toMatch(/^The token is rejected \(malformed\)/)
    expect((await said({ user: 'ada' })).answer).toBe('primary would serve it.')
  })

  test('asking changes nothing', async () => {
    const before = db.stats()
    await explain({ token: 'made up', user: 'ada' })
    expect({ ...db.stats(), warnings: 0 }).toEqual({ ...before, warnings: 0 })
  })

  test.each([
    ['not JSON', '{', 400],
    ['not an object', 'null', 400],
    ['not texts', { token: 1 }, 400],
    ['too long', { token: 'x'.repeat(20_000) }, 413],
    ['much too long', { token: 'x'.repeat(200_000) }, 413],
    ['longer than any buffer on its way', { token: 'x'.repeat(20_000_000) }, 413],
  ])('%s is refused in words', async (_, body, status) => {
    const response = await explain(body)
    expect(response.status).toBe(status)
    expect(((await response.json()) as { error: string }).error).toBeTypeOf('string')
  })

  test("another site's form cannot ask", async () => {
    expect((await explain('{"token":"x"}', { 'content-type': 'text/plain' })).status).toBe(415)
  })
})

test('closed, it ends the streams, and keeps no timer', async () => {
  const own = await serve(cli, db)
  const response = await fetch(new URL('events', own.url))
  own.page.close()
  own.page.close()
  let text = ''
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream()) as unknown as AsyncIterable<string>) text += chunk
  expect(text).toContain('event: history')
  expect((await fetch(new URL('events', own.url))).status).toBe(503)
  await own.stop()
})

test('behind what has read the body already', async () => {
  const app = express()
    .use(express.json())
    .use('/ops/tidemark', toNodeListener(dashboard(db)))
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/ops/tidemark/explain`
  const headers = { 'content-type': 'application/json' }
  const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify({ token: 'made up' }) })
  expect(((await response.json()) as Explanation).needs).toMatch(/^The token is rejected \(malformed\)/)
  server.close()
})

describe('mounted as the documentation has it', () => {
  /** The page, the search, and a stream that says something and lets go. */
  async function worksAt(origin: string): Promise<void> {
    const at = (path: string) => new URL(path, `${origin}/ops/tidemark/`)
    expect(await (await fetch(at(''))).text()).toContain('<!doctype html>')
    const headers = { 'content-type': 'application/json' }
    const answer = await fetch(at('explain'), { method: 'POST', headers, body: JSON.stringify({ token: 'made up' }) })
    expect(((await answer.json()) as Explanation).needs).toMatch(/^The token is rejected \(malformed\)/)
    const stream = (await fetch(at('events'))).body!.getReader()
    expect(new TextDecoder().decode((await stream.read()).value)).toContain('retry: 1000')
    await stream.cancel()
  }

  test('in Fastify', async () => {
    const page = dashboard(db)
    const listener = toNodeListener(page)
    const app = fastify({ forceCloseConnections: true })
    app.register(async ops => {
      ops.removeAllContentTypeParsers()
      ops.addContentTypeParser('*', (_request, _payload, done) => done(null))
      ops.all('/ops/tidemark/*', (request, reply) => {
        reply.hijack()
        listener(request.raw, reply.raw)
      })
    })
    await worksAt(await app.listen({ port: 0, host: '127.0.0.1' }))
    page.close()
    await app.close()
  })

  test('in Koa', async () => {
    const page = dashboard(db)
    const listener = toNodeListener(page)
    const app = new Koa()
    app.use((ctx, next) => {
      if (!ctx.path.startsWith('/ops/tidemark')) return next()
      ctx.respond = false
      listener(ctx.req, ctx.res)
    })
    const server = app.listen(0, '127.0.0.1')
    await once(server, 'listening')
    await worksAt(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    page.close()
    server.close()
  })

  test('in Hono', async () => {
    const page = dashboard(db)
    const app = new Hono().all('/ops/tidemark/*', c => page(c.req.raw))
    const server = honoServer({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' })
    await once(server, 'listening')
    await worksAt(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    page.close()
    server.close()
  })
})

test('a handler that fails is an answer, too', async () => {
  const server = createServer(toNodeListener(() => Promise.reject(new Error('broken'))))
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
  expect([response.status, await response.text()]).toEqual([500, 'internal error'])
  server.close()
})
