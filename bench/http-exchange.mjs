// What a session costs a request: the same handler of `node:http` with `readYourWrites` and without, over the loopback device,
// and the exchange alone. The handler asks no database; its session reads nothing, or enters a write into its history.
import { AsyncLocalStorage } from 'node:async_hooks'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { Position } from '../dist/core/position.js'
import { tokenExchange } from '../dist/http/exchange.js'
import { readYourWrites, sessionOf } from '../dist/http/node.js'
import { addedCpu, cpuMicroseconds, round } from './measure.mjs'

const LINEAGE = '7000000000000000001/1'
const USER = 'user 1'
const BODY = 'done'

let offset = 1_000n
const write = session => session.wrote(Position.at(LINEAGE, offset++))

/** The headers of a client that has written: its token by cookie, among others, or by header. */
function clients(db) {
  const session = db.session(undefined, { user: USER })
  session.settle(Position.at(LINEAGE, 900n), session.doubts)
  const token = session.token()
  return {
    cookie: { Cookie: `theme=dark; tidemark.${token.slice(-8)}=${token}; sid=0123456789abcdef` },
    header: { 'Tidemark-Token': token },
  }
}

/** `{ name: [without a session, with one] }`; and how to close what they use. */
export async function httpPaths(db) {
  const handler = (_req, res) => {
    res.end(BODY)
  }
  const writing = (req, res) => {
    write(sessionOf(db, req))
    res.end(BODY)
  }
  const withSession = readYourWrites(db, { user: () => USER })
  const origins = await Promise.all([handler, withSession(handler), withSession(writing)].map(listening))
  const paths = {}
  for (const [carrier, headers] of Object.entries(clients(db))) {
    const [bare, read, written] = origins.map(({ requester }) => requester(headers))
    paths[`${carrier}Read`] = [bare, read]
    paths[`${carrier}Write`] = [bare, written]
  }
  return {
    paths,
    close() {
      for (const origin of origins) origin.close()
    },
  }
}

async function listening(listener) {
  const server = createServer(listener)
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
  const sockets = []
  return {
    /** Sends the same bytes each time, on one connection, and waits for the answer. */
    requester(headers) {
      const lines = Object.entries({ Host: 'localhost', ...headers }).map(([name, value]) => `${name}: ${value}\r\n`)
      const bytes = Buffer.from(`GET / HTTP/1.1\r\n${lines.join('')}\r\n`)
      const socket = connect(server.address().port, '127.0.0.1').setNoDelay()
      sockets.push(socket)
      let answered
      socket.on('data', part => {
        if (part.subarray(-BODY.length).equals(Buffer.from(BODY))) answered()
      })
      return () => {
        socket.write(bytes)
        return new Promise(resolve => {
          answered = resolve
        })
      }
    },
    close() {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}

/**
 * CPU microseconds: `added` to a request of `node:http`, and of the exchange `alone`. `asyncHooks` is what any AsyncLocalStorage adds
 * to a request before it carries anything: sessions in scope need one, and so do most applications; it is not in `added`.
 */
export async function measureHttpExchange(db, { quick, progress }) {
  const { paths, close } = await httpPaths(db)
  const settings = { inFlight: 1, rounds: quick ? 7 : 21, roundMs: quick ? 200 : 300, progress }
  const added = {}
  try {
    // First: once a session has been in scope, the hooks stay.
    const [bare] = paths.cookieRead
    added.asyncHooks = (await addedCpu({ bare, hooked: { work: bare, enter: hook } }, settings)).hooked
    for (const [name, [bare, work]] of Object.entries(paths)) {
      added[name] = (await addedCpu({ bare, [name]: work }, settings))[name]
    }
  } finally {
    close()
  }
  return { added, alone: measureAlone(db) }
}

function hook() {
  const storage = new AsyncLocalStorage()
  storage.run({}, () => {})
  return () => storage.disable()
}

function measureAlone(db) {
  const open = tokenExchange(db)
  const response = { append() {} }
  const result = {}
  for (const [carrier, headers] of Object.entries(clients(db))) {
    const request = { get: name => headers[name] ?? null }
    for (const [kind, work] of Object.entries({ Read: () => {}, Write: write })) {
      const exchange = () => {
        const { session, apply, finish } = open(request, { user: USER })
        session.run(() => work(session))
        apply(response)
        finish()
      }
      result[carrier + kind] = round(cpuMicroseconds(exchange), 1)
    }
  }
  return result
}
