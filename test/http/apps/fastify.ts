import { PassThrough } from 'node:stream'
import Fastify from 'fastify'
import { NotReadyError } from '../../../src/core/ladder.js'
import * as onFastify from '../../../src/http/fastify.js'
import { gated, running, type StartApp, USER, untilSent } from './app.js'

export const startFastify: StartApp = async (db, options) => {
  const app = Fastify({ forceCloseConnections: true })
  await app.register(onFastify.readYourWrites(db, { ...options, user: request => request.headers[USER]?.toString() }))
  app.get('/session', async request => {
    if (onFastify.sessionOf(db, request) !== db.current) throw new Error('not the session in scope')
    return db.describe()
  })
  app.get('/arrived', async () => {
    await db.current.arriving
    return db.describe()
  })
  app.get('/read-primary', async () => {
    db.readPrimary()
    return db.describe()
  })
  app.route({
    url: '/write',
    method: ['GET', 'POST', 'OPTIONS'],
    async handler(request) {
      await db.write()
      return request.body ?? null
    },
  })
  app.post('/redirect', async (_request, reply) => {
    await db.write()
    return reply.redirect('/session', 303)
  })
  app.post('/fail', async () => {
    await db.write()
    throw new Error('after the write')
  })
  app.get('/stream', async (_request, reply) => {
    await db.write()
    const body = new PassThrough()
    body.write('one,')
    setImmediate(() => body.end('two'))
    return reply.send(body)
  })
  app.get('/late', (_request, reply) => {
    const body = new PassThrough()
    body.write('one,')
    void reply.send(body)
    void untilSent(reply.raw)
      .then(() => db.write())
      .then(() => body.end('two'))
  })
  app.get('/cookies', async (_request, reply) => {
    reply.header('set-cookie', 'a=1')
    await db.write()
    return reply.header('set-cookie', 'b=2').send('ok')
  })
  app.get<{ Params: { id: string } }>('/gated/:id', async request => {
    await gated(db, request.params.id)
    return 'ok'
  })
  app.get('/not-ready', async () => {
    throw new NotReadyError(1_500)
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  return running(app.server, () => app.close())
}
