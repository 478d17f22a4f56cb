// The application: one HTTP server in a process of its own, so that its CPU can be told from the load's. Its parent opens one
// option after the other; the code of all of them stays loaded and compiled.
import { createServer } from 'node:http'
import { OPTIONS } from './options.mjs'

let option
let handler

function respond(req, res) {
  handler(req, res).catch(error => {
    res.statusCode = 500
    res.end(String(error?.message ?? error))
  })
}

async function answer(req, res) {
  const url = new URL(req.url, 'http://app')
  const id = Number(url.searchParams.get('id'))
  const user = url.searchParams.get('user')
  const request = {
    id,
    user,
    version: Number(url.searchParams.get('version')),
    // Called by those who need them.
    cookies: () => parseCookies(req.headers.cookie),
    setCookie: (name, value) => res.appendHeader('set-cookie', `${name}=${value}; Path=/`),
  }
  if (req.method === 'POST') {
    await option.write(request)
    res.end('{}')
  } else {
    const { version, port } = await option.read(request)
    res.setHeader('content-type', 'application/json')
    res.end(JSON.stringify({ version, port }))
  }
}

function parseCookies(header = '') {
  return Object.fromEntries(header.split('; ').map(pair => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]))
}

const COMMANDS = {
  async open({ name, urls }) {
    option = await OPTIONS.find(each => each.name === name).open(urls)
    handler = option.middleware === undefined ? answer : option.middleware(answer)
  },
  async close() {
    await option?.close()
    option = undefined
  },
  cpu: async () => process.cpuUsage(),
  port: async () => server.address().port,
}

const server = createServer({ keepAliveTimeout: 60_000 }, respond).listen(0, '127.0.0.1', () => process.send({ ready: true }))
process.on('message', ({ id, command, ...rest }) => {
  COMMANDS[command](rest).then(
    value => process.send({ id, value }),
    error => process.send({ id, error: String(error?.stack ?? error) }),
  )
})
process.on('disconnect', () => process.exit())
