import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import * as onNode from '../../../src/http/node.js'
import { closing, gated, listening, pause, running, type StartApp, USER } from './app.js'

export const startNode: StartApp = async (db, options) => {
  const handle = async (req: IncomingMessage, res: ServerResponse) => {
    const path = req.url ?? '/'
    if (path === '/session') {
      if (onNode.sessionOf(db, req) !== db.current) throw new Error('not the session in scope')
      res.end(db.describe())
    } else if (path === '/arrived') {
      await db.current.arriving
      res.end(db.describe())
    } else if (path === '/read-primary') {
      db.readPrimary()
      res.end(db.describe())
    } else if (path === '/write') {
      // In the events of the request, which know of no scope by themselves.
      let body = ''
      req.on('data', part => {
        body += part
      })
      req.on('end', async () => {
        await db.write()
        res.end(body === '' ? 'null' : body)
      })
    } else if (path === '/redirect') {
      await db.write()
      res.writeHead(303, 'See Other', { Location: '/session' }).end()
    } else if (path === '/fail') {
      await db.write()
      throw new Error('after the write')
    } else if (path === '/stream') {
      await db.write()
      res.write('one,')
      await pause()
      res.end('two')
    } else if (path === '/late') {
      res.write('one,')
      await db.write()
      res.end('two')
    } else if (path === '/cookies') {
      await db.write()
      res.writeHead(200, { 'Set-Cookie': ['a=1', 'b=2'] }).end('ok')
    } else if (path === '/cookies/list') {
      await db.write()
      res.writeHead(200, ['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2']).end('ok')
    } else if (path === '/cookies/pairs') {
      await db.write()
      const pairs: [string, string][] = [
        ['Set-Cookie', 'a=1'],
        ['Set-Cookie', 'b=2'],
      ]
      res.writeHead(200, 'Fine', pairs as unknown as string[]).end('ok')
    } else if (path.startsWith('/gated/')) {
      await gated(db, path.slice('/gated/'.length))
      res.end('ok')
    } else res.writeHead(404).end()
  }
  // Node has no error handling of its own; an application's own is inside of what readYourWrites wraps.
  const guarded = (req: IncomingMessage, res: ServerResponse) => handle(req, res).catch(() => res.writeHead(500).end('failed'))
  const user = (req: IncomingMessage) => req.headers[USER]?.toString()
  const server = await listening(createServer(onNode.readYourWrites(db, { ...options, user })(guarded)))
  return running(server, () => closing(server))
}
