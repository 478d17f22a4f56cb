import { createServer } from 'node:http'
import express from 'express'
import { NotReadyError } from '../../../src/core/ladder.js'
import * as onExpress from '../../../src/http/express.js'
import { closing, gated, listening, pause, running, type StartApp, USER } from './app.js'

export const startExpress: StartApp = async (db, options) => {
  const app = express()
  app.use(
    onExpress.readYourWrites(db, {
      ...options,
      async user(req) {
        await pause()
        return req.get(USER)
      },
    }),
  )
  app.use(express.json())
  app.get('/session', (req, res) => {
    if (onExpress.sessionOf(db, req) !== db.current) throw new Error('not the session in scope')
    res.send(db.describe())
  })
  app.get('/arrived', async (_req, res) => {
    await db.current.arriving
    res.send(db.describe())
  })
  app.get('/read-primary', async (_req, res) => {
    db.readPrimary()
    res.send(db.describe())
  })
  app.all('/write', async (req, res) => {
    await db.write()
    res.json(req.body ?? null)
  })
  app.post('/redirect', async (_req, res) => {
    await db.write()
    res.redirect(303, '/session')
  })
  app.post('/fail', async () => {
    await db.write()
    throw new Error('after the write')
  })
  app.get('/stream', async (_req, res) => {
    await db.write()
    res.write('one,')
    await pause()
    res.end('two')
  })
  app.get('/late', async (_req, res) => {
    res.write('one,')
    await db.write()
    res.end('two')
  })
  app.get('/cookies', async (_req, res) => {
    res.cookie('a', '1')
    await db.write()
    res.cookie('b', '2').send('ok')
  })
  app.get('/gated/:id', async (req, res) => {
    await gated(db, req.params.id)
    res.send('ok')
  })
  app.get('/not-ready', () => {
    throw new NotReadyError(1_500)
  })
  app.use(onExpress.notReadyHandler)
  const silent: express.ErrorRequestHandler = (error, _req, res, _next) => {
    res
      .status(error.status ?? 500)
      .set(error.headers ?? {})
      .send('failed')
  }
  app.use(silent)
  const server = await listening(createServer(app))
  return running(server, () => closing(server))
}
