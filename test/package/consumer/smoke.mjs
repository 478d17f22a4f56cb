// Posts and reads back through each framework that is installed, with the replica far behind.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { tidemark } from 'tidemark/postgres'
import { startCluster } from 'tidemark/testing'

const cluster = await startCluster({ replicas: 1 })
await cluster.query('primary', 'create table photos (caption text)')
await cluster.caughtUp()
await cluster.lag('replica-1', 600_000)
const db = await tidemark({ nodes: [...cluster.urls], secret: 'of this check only' })

const post = async caption => {
  await db.pool.query('insert into photos values ($1)', [caption])
  return 'posted'
}
const captions = async () => (await db.pool.query('select caption from photos')).rows.map(row => row.caption).join()

/** Each makes a server that posts at /post and answers with what is posted at /. */
const frameworks = {
  async express() {
    const { default: express } = await import('express')
    const { readYourWrites } = await import('tidemark/express')
    const app = express().use(readYourWrites(db))
    app.get('/post', async (_req, res) => res.send(await post('express')))
    app.get('/', async (_req, res) => res.send(await captions()))
    return app.listen(0)
  },
  async fastify() {
    const { default: fastify } = await import('fastify')
    const { readYourWrites } = await import('tidemark/fastify')
    const app = fastify()
    app.register(readYourWrites(db))
    app.get('/post', () => post('fastify'))
    app.get('/', () => captions())
    await app.listen({ port: 0 })
    return app.server
  },
  async hono() {
    const [{ Hono }, { serve }, { readYourWrites }] = await Promise.all([
      import('hono'),
      import('@hono/node-server'),
      import('tidemark/hono'),
    ])
    const app = new Hono()
    app.use(readYourWrites(db))
    app.get('/post', async c => c.text(await post('hono')))
    app.get('/', async c => c.text(await captions()))
    return serve({ fetch: app.fetch, port: 0 })
  },
  async koa() {
    const { default: Koa } = await import('koa')
    const { readYourWrites } = await import('tidemark/koa')
    const app = new Koa().use(readYourWrites(db))
    app.use(async ctx => {
      ctx.body = await (ctx.path === '/post' ? post('koa') : captions())
    })
    return app.listen(0)
  },
  async node() {
    const { readYourWrites } = await import('tidemark/node')
    const handle = async (req, res) => res.end(await (req.url === '/post' ? post('node') : captions()))
    return createServer(readYourWrites(db)(handle)).listen(0)
  },
}

try {
  for (const [name, listen] of Object.entries(frameworks)) {
    const server = await listen()
    if (!server.listening) await once(server, 'listening')
    const origin = `http://localhost:${server.address().port}`
    const posted = await fetch(`${origin}/post`)
    assert.equal(await posted.text(), 'posted', name)
    const cookie = posted.headers.getSetCookie().map(line => line.split(';')[0])
    assert.equal(cookie.length, 1, `${name} set ${cookie.length} cookies`)
    const seen = await fetch(origin, { headers: { cookie: cookie[0] } })
    assert.match(await seen.text(), new RegExp(`\\b${name}\\b`))
    const others = await fetch(origin)
    assert.equal(await others.text(), '', `${name}: the replica serves everybody else`)
    server.closeAllConnections()
    server.close()
  }
} finally {
  await db.close()
  await cluster.close()
}
