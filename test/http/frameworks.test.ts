/** What every adapter must do, on the wire: each framework's own server, real sockets, raw headers. */
import { request } from 'node:http'
import { afterEach, describe, expect, test } from 'vitest'
import { memoryTokenStore } from '../../src/core/token-store.js'
import type { ExchangeOptions } from '../../src/http/exchange.js'
import type { RunningApp } from './apps/app.js'
import { APPS } from './apps/index.js'
import { type Answer, cookieOf, Jar, OneSlotJar, send, TestDatabase, until, warningsDuring } from './kit.js'

describe.each(APPS)('%s', (name, start) => {
  const apps: RunningApp[] = []
  afterEach(async () => {
    await Promise.all(apps.splice(0).map(app => app.close()))
  })

  async function begin(options: ExchangeOptions = {}, db = new TestDatabase()) {
    const app = await start(db, options)
    apps.push(app)
    return { db, origin: app.origin }
  }

  /** The token that an answer sets by cookie; there must be exactly one. */
  function tokenIn(answer: Answer): string {
    const set = answer.tokenCookies.filter(line => !line.includes('Max-Age=0'))
    expect(set).toHaveLength(1)
    return /^tidemark\.[\w-]{8}=([\w-]+);/.exec(set[0]!)![1]!
  }

  test('a request without a token gets an empty session and no token back', async () => {
    const { origin } = await begin()
    const answer = await send(origin, 'GET', '/session')
    expect(answer.described).toEqual({ writes: 'zero', uncertain: false, user: null })
    expect(answer.all('set-cookie')).toEqual([])
    expect(answer.all('tidemark-token')).toEqual([])
  })

  test('a write sets a cookie of its own name, and the next request has that write', async () => {
    const { db, origin } = await begin()
    const answer = await send(origin, 'POST', '/write', { 'content-type': 'application/json' }, '{"text":"x"}')
    expect([answer.status, answer.body]).toEqual([200, '{"text":"x"}'])
    const token = tokenIn(answer)
    expect(answer.tokenCookies[0]).toBe(`${cookieOf(token)}; Max-Age=34560000; Path=/; HttpOnly; SameSite=lax`)
    expect(answer.all('tidemark-token')).toEqual([])

    const next = await send(origin, 'GET', '/session', { cookie: cookieOf(token) })
    expect(next.described.writes).toBe(db.codec.decode(token).writes.toString())
    expect(next.all('set-cookie')).toEqual([])
  })

  test('the scope holds while a body arrives in pieces', async () => {
    const { origin } = await begin()
    const answer = await new Promise<number>((resolve, reject) => {
      const headers = { 'content-type': 'application/json' }
      const outgoing = request(`${origin}/write`, { method: 'POST', headers, agent: false }, res => {
        res.resume().on('end', () => resolve(res.headers['set-cookie']?.length ?? 0))
      })
      outgoing.on('error', reject)
      outgoing.write('{"text":', () => setImmediate(() => outgoing.end('"x"}')))
    })
    expect(answer).toBe(1)
  })

  test('a redirect after a write carries the token', async () => {
    const { origin } = await begin()
    const answer = await send(origin, 'POST', '/redirect')
    expect([answer.status, answer.all('location')]).toEqual([303, ['/session']])
    tokenIn(answer)
    // Who asked by header gets the cookie too: fetch follows a redirect without showing its headers.
    const asked = await send(origin, 'POST', '/redirect', { 'tidemark-token': '' })
    expect(asked.all('tidemark-token')).toEqual([tokenIn(asked)])
  })

  test('an error after a write carries the token', async () => {
    const { origin } = await begin()
    const answer = await send(origin, 'POST', '/fail')
    expect(answer.status).toBe(500)
    tokenIn(answer)
  })

  test('a stream carries what was written before it began', async () => {
    const { origin } = await begin()
    const answer = await send(origin, 'GET', '/stream')
    expect(answer.body).toBe('one,two')
    tokenIn(answer)
  })

  test('a write after the headers were sent is warned about, once the response has ended', async () => {
    const { origin } = await begin()
    const warnings = await warningsDuring(async heard => {
      const answer = await send(origin, 'GET', '/late')
      expect(answer.body).toBe('one,two')
      expect(answer.all('set-cookie')).toEqual([])
      await until(() => heard.length > 0)
    })
    expect(warnings.map(warning => warning.message)).toEqual([expect.stringContaining('after the headers')])
  })

  test('HEAD and OPTIONS carry the token too', async () => {
    const { origin } = await begin()
    for (const method of ['HEAD', 'OPTIONS']) tokenIn(await send(origin, method, '/write'))
  })

  test("the application's own cookies stay", async () => {
    const { origin } = await begin()
    const paths = name === 'node:http' ? ['/cookies', '/cookies/list', '/cookies/pairs'] : ['/cookies']
    for (const path of paths) {
      const answer = await send(origin, 'GET', path)
      const own = answer.all('set-cookie').filter(line => !line.startsWith('tidemark.'))
      expect(own.map(line => line.slice(0, 3))).toEqual(['a=1', 'b=2'])
      tokenIn(answer)
    }
  })

  test('a client that goes away in between harms nobody, and its write is warned about', async () => {
    const { db, origin } = await begin()
    const { written, release } = db.gateOf('abort')
    const warnings = await warningsDuring(async heard => {
      const outgoing = request(`${origin}/gated/abort`, { agent: false }).on('error', () => {})
      outgoing.end()
      await written.opened
      outgoing.destroy()
      await until(() => heard.length > 0)
      release.open()
      expect((await send(origin, 'GET', '/session')).status).toBe(200)
    })
    expect(warnings).toHaveLength(1)
  })

  test.each([
    ['the newer arrives last', ['a', 'b']],
    ['the older arrives last', ['b', 'a']],
  ])('two concurrent responses lose nothing: %s', async (_, order) => {
    for (const mode of ['cookie', 'header'] as const) {
      const { db, origin } = await begin()
      const pending = new Map<string, Promise<Answer>>()
      // Both have written before either is answered; "a" is the older write.
      for (const id of ['a', 'b']) {
        pending.set(id, send(origin, 'GET', `/gated/${id}`, mode === 'header' ? { 'tidemark-token': '' } : {}))
        await db.gateOf(id).written.opened
      }
      const jar = new Jar()
      const control = new OneSlotJar()
      const held: string[] = []
      const written: string[] = []
      for (const id of order) {
        db.gateOf(id).release.open()
        const answer = await pending.get(id)!
        jar.take(answer)
        control.take(answer)
        held.push(...answer.all('tidemark-token'))
        const token = mode === 'header' ? answer.all('tidemark-token')[0]! : tokenIn(answer)
        written.push(db.codec.decode(token).writes.toString())
      }
      const newest = written.sort().at(-1)!
      const headers = mode === 'header' ? { 'tidemark-token': held.join(', ') } : jar.headers
      const next = await send(origin, 'GET', '/session', headers)
      expect(next.described.writes).toBe(newest)

      if (mode === 'header') {
        // It names what it includes, so the client is down to one token.
        const [kept] = next.all('tidemark-token')
        const gone = held.filter(token => token !== kept).map(token => token.slice(-8))
        expect(next.all('tidemark-token-replaces')).toEqual([gone.join(', ')])
        continue
      }
      expect(jar.tokens).toHaveLength(2)
      jar.take(next)
      expect(jar.tokens).toHaveLength(1)
      expect((await send(origin, 'GET', '/session', jar.headers)).described.writes).toBe(newest)
      // The control shows that the order matters at all: one slot forgets the newer write when the older arrives last.
      const naive = await send(origin, 'GET', '/session', control.headers)
      expect(naive.described.writes === newest).toBe(order.at(-1) === 'b')
    }
  })

  test('what a client makes up counts as no token', async () => {
    const { db, origin } = await begin()
    const forger = new TestDatabase({ secret: 'another secret, just as long' })
    const forged = await forger.session().run(async () => {
      await forger.write()
      return forger.current.token()
    })
    const good = await db.session().run(async () => {
      await db.write()
      return db.current.token()
    })
    const altered = `${good.slice(0, 30)}${good[30] === 'A' ? 'B' : 'A'}${good.slice(31)}`
    for (const cookie of [
      cookieOf(forged),
      cookieOf(altered),
      cookieOf('x'.repeat(4_000)),
      `tidemark.${good.slice(-8)}=`,
      `tidemark.AAAAAAAA=${good}`,
      'tidemark.=; tidemark; =; ;;; tidemark.%00%FF=\u00ff',
      `tidemark=${good}`,
    ]) {
      const answer = await send(origin, 'GET', '/session', { cookie })
      expect(answer.status).toBe(200)
      expect(answer.described).toEqual({ writes: 'zero', uncertain: false, user: null })
      expect(answer.all('set-cookie')).toEqual([])
    }
    for (const header of [forged, 'uncertain-12345678', ', ,,', 'x'.repeat(4_000), `${Array(500).fill('y').join()}`]) {
      const answer = await send(origin, 'GET', '/session', { 'tidemark-token': header })
      expect(answer.described).toEqual({ writes: 'zero', uncertain: false, user: null })
      expect(answer.all('tidemark-token')).toEqual([])
    }
  })

  test('a known user: bound tokens, those of others ignored, and no token means uncertain', async () => {
    const { origin } = await begin()
    const asAnn = { 'x-user': 'ann' }
    const first = await send(origin, 'GET', '/session', asAnn)
    expect(first.described).toEqual({ writes: 'zero', uncertain: true, user: 'ann' })
    expect(first.all('set-cookie')).toEqual([])

    const cookie = cookieOf(tokenIn(await send(origin, 'GET', '/read-primary', asAnn)))
    const again = await send(origin, 'GET', '/session', { ...asAnn, cookie })
    expect(again.described.uncertain).toBe(false)
    expect(again.described.writes).not.toBe('zero')
    const bob = await send(origin, 'GET', '/session', { 'x-user': 'bob', cookie })
    expect(bob.described).toEqual({ writes: 'zero', uncertain: true, user: 'bob' })
    const nobody = await send(origin, 'GET', '/session', { cookie })
    expect(nobody.described).toEqual({ writes: 'zero', uncertain: false, user: null })
  })

  test('a known user with a token store: another device knows of the write without a token', async () => {
    const { db, origin } = await begin({}, new TestDatabase({ store: memoryTokenStore() }))
    const asAnn = { 'x-user': 'ann' }
    const token = tokenIn(await send(origin, 'POST', '/write', { ...asAnn, 'content-type': 'application/json' }, '{}'))
    const elsewhere = await send(origin, 'GET', '/arrived', asAnn)
    const { writes } = db.codec.decode(token, { boundTo: 'ann' })
    expect(elsewhere.described).toEqual({ writes: writes.toString(), uncertain: false, user: 'ann' })
    tokenIn(elsewhere)
    // The store knows: a write that is too late for the headers is no loss.
    const warnings = await warningsDuring(async () => {
      await send(origin, 'GET', '/late', asAnn)
      // The next request on the same server comes after the end of that response.
      await send(origin, 'GET', '/session')
    })
    expect(warnings).toEqual([])
  })

  if (name !== 'node:http') {
    test('a NotReadyError is answered with 503 and Retry-After', async () => {
      const { origin } = await begin()
      const answer = await send(origin, 'GET', '/not-ready')
      expect([answer.status, answer.all('retry-after')]).toEqual([503, ['2']])
    })
  }
})
