/** What differs between the adapters: how they are mounted, and whom they ask. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import Fastify from 'fastify'
import { Hono } from 'hono'
import Koa from 'koa'
import { afterEach, describe, expect, test } from 'vitest'
import { ConfigurationError } from '../../src/core/errors.js'
import * as onExpress from '../../src/http/express.js'
import * as onFastify from '../../src/http/fastify.js'
import * as onHono from '../../src/http/hono.js'
import * as onKoa from '../../src/http/koa.js'
import * as onNode from '../../src/http/node.js'
import { send, TestDatabase } from './kit.js'

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) server.close().closeAllConnections()
})

async function listen(server: Server): Promise<string> {
  servers.push(server)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const refuse = async (): Promise<string> => {
  throw Object.assign(new Error('who are you?'), { status: 401, statusCode: 401 })
}

describe('an error from `user` goes where errors go', () => {
  test('express', async () => {
    const app = express().use(onExpress.readYourWrites(new TestDatabase(), { user: refuse }))
    const handler: express.ErrorRequestHandler = (error, _req, res, _next) => void res.status(error.status).end()
    expect((await send(await listen(createServer(app.use(handler))), 'GET', '/')).status).toBe(401)
  })

  test('fastify', async () => {
    const app = Fastify()
    await app.register(onFastify.readYourWrites(new TestDatabase(), { user: refuse }))
    app.get('/', async () => 'ok')
    await app.ready()
    expect((await send(await listen(app.server), 'GET', '/')).status).toBe(401)
  })

  test('koa', async () => {
    const app = new Koa()
    app.silent = true
    app.use(onKoa.readYourWrites(new TestDatabase(), { user: refuse }))
    expect((await send(await listen(createServer(app.callback())), 'GET', '/')).status).toBe(401)
  })

  test('hono', async () => {
    const app = new Hono().use(onHono.readYourWrites(new TestDatabase(), { user: refuse }))
    app.onError((error, c) => c.text(error.message, 401))
    expect((await app.request('/')).status).toBe(401)
  })

  test('node:http: the listener rejects', async () => {
    const listener = onNode.readYourWrites(new TestDatabase(), { user: refuse })(() => {})
    const rejected = new Promise(resolve => {
      const server = createServer((req, res) => {
        const result: unknown = listener(req, res)
        Promise.resolve(result).catch(error => {
          resolve(error.message)
          res.writeHead(401).end()
        })
      })
      void listen(server).then(origin => send(origin, 'GET', '/'))
    })
    expect(await rejected).toBe('who are you?')
  })
})

describe('mounted twice, a request has one session', () => {
  test('express', async () => {
    const db = new TestDatabase()
    const app = express().use(onExpress.readYourWrites(db)).use(onExpress.readYourWrites(db))
    app.get('/', async (_req, res) => {
      await db.write()
      res.end()
    })
    expect((await send(await listen(createServer(app)), 'GET', '/')).tokenCookies).toHaveLength(1)
  })

  test('hono', async () => {
    const db = new TestDatabase()
    const app = new Hono().use(onHono.readYourWrites(db)).use(onHono.readYourWrites(db))
    app.get('/', async c => {
      await db.write()
      return c.text('ok')
    })
    expect((await app.request('/')).headers.getSetCookie()).toHaveLength(1)
  })
})

test('two databases do not get into each other’s way', async () => {
  const [orders, photos] = [new TestDatabase(), new TestDatabase()]
  const app = express()
  app.use(onExpress.readYourWrites(orders, { header: 'Orders-Token', cookie: { name: 'orders' } }))
  app.use(onExpress.readYourWrites(photos))
  app.get('/', async (req, res) => {
    await photos.write()
    res.json([onExpress.sessionOf(orders, req).changed, onExpress.sessionOf(photos, req).changed])
  })
  const answer = await send(await listen(createServer(app)), 'GET', '/')
  expect(answer.body).toBe('[false,true]')
  expect(answer.all('set-cookie').map(line => line.split('.')[0])).toEqual(['tidemark'])
})

test('fastify: with the hook preHandler, who has signed in on the route itself is known', async () => {
  const db = new TestDatabase()
  const app = Fastify()
  const users = new WeakMap<object, string>()
  await app.register(onFastify.readYourWrites(db, { hook: 'preHandler', user: request => users.get(request) }))
  const onRequest = async (request: object) => void users.set(request, 'ann')
  app.get('/', { onRequest }, async () => db.describe())
  await app.ready()
  expect((await send(await listen(app.server), 'GET', '/')).described.user).toBe('ann')
})

test('express: behind a trusted proxy that ends TLS, the cookie is for TLS only', async () => {
  const db = new TestDatabase()
  const app = express().set('trust proxy', true).use(onExpress.readYourWrites(db))
  app.get('/', async (_req, res) => {
    await db.write()
    res.end()
  })
  const origin = await listen(createServer(app))
  const overTls = await send(origin, 'GET', '/', { 'x-forwarded-proto': 'https' })
  expect(overTls.tokenCookies[0]).toMatch(/; Secure$/)
  expect((await send(origin, 'GET', '/')).tokenCookies[0]).not.toMatch(/Secure/)
})

test('hono: an error handler of the application that answers NotReadyError otherwise has its way', async () => {
  const { NotReadyError } = await import('../../src/core/ladder.js')
  const app = new Hono().use(onHono.readYourWrites(new TestDatabase()))
  app.get('/', () => {
    throw new NotReadyError(10)
  })
  app.onError((_error, c) => c.text('teapot', 418))
  expect((await app.request('/')).status).toBe(418)
})

test('a handler that the middleware has not seen is told so', async () => {
  const app = express().get('/', (req, res) => {
    expect(() => onExpress.sessionOf(new TestDatabase(), req)).toThrow(ConfigurationError)
    res.end('told')
  })
  expect((await send(await listen(createServer(app)), 'GET', '/')).body).toBe('told')
})
