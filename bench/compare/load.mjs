// Users who read and write through the application, from this process. Each has one row of their own and a cookie jar.
import { Agent, request } from 'node:http'

export const USERS = 2_000
/** Of the writes, this share is read back at once: a form that leads to the page of what was saved. */
const READ_BACK_SHARE = 0.5
/** Of the other reads, this share is of the user's own row. */
const OWN_SHARE = 0.2

export const MIXES = Object.freeze({ 'read-heavy': 0.05, balanced: 0.3 })

/**
 * `clients` at a time for `forMs`, each request of a user of that client's own, so that no user does two things at once. Returns
 * latencies, what was missed, and the own reads as { at, writtenAt } for the floor.
 */
export async function load(port, { clients, writeShare, forMs, versions }) {
  const agent = new Agent({ keepAlive: true, maxSockets: clients })
  const measured = { readMs: [], writeMs: [], violations: 0, primary: new Map(), ownReads: [], failed: 0, errors: new Set() }
  const startedAt = performance.now()
  const end = startedAt + forMs
  const lanes = Array.from({ length: clients }, (_, lane) => new Client(port, agent, lane, clients, versions, measured))
  await Promise.all(lanes.map(client => client.run(end, writeShare)))
  agent.destroy()
  return { ...measured, elapsedMs: performance.now() - startedAt }
}

class Client {
  #port
  #agent
  #users
  #measured
  #versions

  constructor(port, agent, lane, lanes, versions, measured) {
    this.#port = port
    this.#agent = agent
    this.#measured = measured
    this.#versions = versions
    this.#users = []
    for (let id = lane; id < USERS; id += lanes) this.#users.push({ id, jar: new Map(), acked: undefined, writtenAt: undefined })
  }

  async run(end, writeShare) {
    while (performance.now() < end) {
      const user = this.#users[Math.floor(Math.random() * this.#users.length)]
      if (Math.random() < writeShare) {
        await this.#write(user)
        if (Math.random() < READ_BACK_SHARE) await this.#read(user, user.id)
      } else {
        const own = Math.random() < OWN_SHARE
        await this.#read(user, own ? user.id : Math.floor(Math.random() * USERS))
      }
    }
  }

  async #write(user) {
    const version = (this.#versions.get(user.id) ?? 0) + 1
    this.#versions.set(user.id, version)
    const startedAt = performance.now()
    const answer = await this.#send('POST', user, user.id, `&version=${version}`)
    if (answer === undefined) return
    user.acked = version
    user.writtenAt = performance.now()
    this.#measured.writeMs.push(user.writtenAt - startedAt)
  }

  async #read(user, id) {
    const { acked, writtenAt } = user
    const startedAt = performance.now()
    const answer = await this.#send('GET', user, id, '')
    if (answer === undefined) return
    const { readMs, primary, ownReads } = this.#measured
    readMs.push(performance.now() - startedAt)
    primary.set(answer.port, (primary.get(answer.port) ?? 0) + 1)
    if (id !== user.id || acked === undefined) return
    ownReads.push({ at: startedAt, writtenAt })
    if (answer.version < acked) this.#measured.violations++
  }

  #send(method, user, id, more) {
    return new Promise(resolve => {
      const fail = error => {
        this.#measured.failed++
        if (this.#measured.errors.size < 5) this.#measured.errors.add(String(error))
        resolve(undefined)
      }
      const headers = user.jar.size === 0 ? {} : { cookie: [...user.jar].map(([name, value]) => `${name}=${value}`).join('; ') }
      const path = `/?user=${user.id}&id=${id}${more}`
      const sent = request({ method, port: this.#port, host: '127.0.0.1', path, agent: this.#agent, headers }, response => {
        let body = ''
        response.setEncoding('utf8').on('data', chunk => {
          body += chunk
        })
        response.on('error', fail).on('end', () => {
          for (const cookie of response.headers['set-cookie'] ?? []) keep(user.jar, cookie)
          if (response.statusCode === 200) resolve(JSON.parse(body))
          else fail(body)
        })
      })
      sent.on('error', fail).end()
    })
  }
}

function keep(jar, cookie) {
  const [pair, ...attributes] = cookie.split('; ')
  const at = pair.indexOf('=')
  if (attributes.some(each => /^max-age=0$/i.test(each))) jar.delete(pair.slice(0, at))
  else jar.set(pair.slice(0, at), pair.slice(at + 1))
}
