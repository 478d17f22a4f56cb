import type { Server, ServerResponse } from 'node:http'
import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { stream } from 'hono/streaming'
import { NotReadyError } from '../../../src/core/ladder.js'
import * as onHono from '../../../src/http/hono.js'
import { closing, gated, pause, running, type StartApp, USER, untilSent } from './app.js'

export const startHono: StartApp = async (db, options) => {
  const app = new Hono()
  app.onError((_error, c) => c.text('failed', 500))
  app.use(
    onHono.readYourWrites(db, {
      ...options,
      async user(c) {
        await pause()
        return c.req.header(USER)
      },
    }),
  )
  app.get('/session', c => {
    if (onHono.sessionOf(db, c) !== db.current) throw new Error('not the session in scope')
    return c.text(db.describe())
  })
  app.get('/arrived', async c => {
    await db.current.arriving
    return c.text(db.describe())
  })
  app.get('/read-primary', async c => {
    db.readPrimary()
    return c.text(db.describe())
  })
  app.on(['GET', 'POST', 'OPTIONS'], '/write', async c => {
    const body: unknown = c.req.method === 'POST' ? await c.req.json() : null
    await db.write()
    return c.json(body as null)
  })
  app.post('/redirect', async c => {
    await db.write()
    return c.redirect('/session', 303)
  })
  app.post('/fail', async () => {
    await db.write()
    throw new Error('after the write')
  })
  app.get('/stream', async c => {
    await db.write()
    return stream(c, async out => {
      await out.write('one,')
      await pause()
      await out.write('two')
    })
  })
  app.get('/late', c =>
    stream(c, async out => {
      await out.write('one,')
      await untilSent((c.env as { outgoing: ServerResponse }).outgoing)
      await db.write()
      await out.write('two')
    }),
  )
  app.get('/cookies', async c => {
    c.header('Set-Cookie', 'a=1', { append: true })
    await db.write()
    c.header('Set-Cookie', 'b=2', { append: true })
    return c.text('ok')
  })
  app.get('/gated/:id', async c => {
    await gated(db, c.req.param('id'))
    return c.text('ok')
  })
  app.get('/not-ready', () => {
    throw new NotReadyError(1_500)
  })
  const server = await new Promise<Server>(resolve => {
    const started = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, () => resolve(started as Server))
  })
  return running(server, () => closing(server))
}
