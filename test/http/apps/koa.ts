import { createServer, type IncomingMessage } from 'node:http'
import { PassThrough } from 'node:stream'
import Koa from 'koa'
import { NotReadyError } from '../../../src/core/ladder.js'
import * as onKoa from '../../../src/http/koa.js'
import { closing, gated, listening, running, type StartApp, USER, untilSent } from './app.js'

export const startKoa: StartApp = async (db, options) => {
  const app = new Koa({ env: 'test' })
  app.silent = true
  app.use(onKoa.readYourWrites(db, { ...options, user: ctx => ctx.get(USER) }))
  app.use(async ctx => {
    const { path } = ctx
    if (path === '/session') {
      if (onKoa.sessionOf(db, ctx) !== db.current) throw new Error('not the session in scope')
      ctx.body = db.describe()
    } else if (path === '/arrived') {
      await db.current.arriving
      ctx.body = db.describe()
    } else if (path === '/read-primary') {
      db.readPrimary()
      ctx.body = db.describe()
    } else if (path === '/write') {
      const body = await bodyOf(ctx.req)
      await db.write()
      ctx.type = 'json'
      ctx.body = body === '' ? 'null' : body
    } else if (path === '/redirect') {
      await db.write()
      ctx.redirect('/session')
      ctx.status = 303
    } else if (path === '/fail') {
      await db.write()
      throw new Error('after the write')
    } else if (path === '/stream') {
      await db.write()
      const body = new PassThrough()
      body.write('one,')
      setImmediate(() => body.end('two'))
      ctx.body = body
    } else if (path === '/late') {
      const body = new PassThrough()
      body.write('one,')
      ctx.body = body
      void untilSent(ctx.res)
        .then(() => db.write())
        .then(() => body.end('two'))
    } else if (path === '/cookies') {
      ctx.cookies.set('a', '1')
      await db.write()
      ctx.cookies.set('b', '2')
      ctx.body = 'ok'
    } else if (path.startsWith('/gated/')) {
      await gated(db, path.slice('/gated/'.length))
      ctx.body = 'ok'
    } else if (path === '/not-ready') throw new NotReadyError(1_500)
  })
  const server = await listening(createServer(app.callback()))
  return running(server, () => closing(server))
}

async function bodyOf(req: IncomingMessage): Promise<string> {
  let body = ''
  for await (const part of req) body += part
  return body
}
