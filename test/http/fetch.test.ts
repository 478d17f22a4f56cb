/** `withConsistency` against real servers, and what a browser must be able to load. */
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { dirname, resolve } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { ConfigurationError } from '../../src/core/errors.js'
import { EMPTY_HISTORY } from '../../src/core/history.js'
import { Position } from '../../src/core/position.js'
import { MAX_TOKENS } from '../../src/http/carrier.js'
import { withConsistency } from '../../src/http/fetch.js'
import { readYourWrites } from '../../src/http/node.js'
import { TokenSet, type TokenStorage } from '../../src/http/token-set.js'
import { type Described, TestDatabase } from './kit.js'

const closing: (() => void)[] = []
afterEach(() => {
  for (const close of closing.splice(0)) close()
})

async function serve(handler: (req: IncomingMessage, res: ServerResponse) => unknown): Promise<string> {
  const server = createServer(handler)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  closing.push(() => {
    server.close()
    server.closeAllConnections()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** A server that remembers the token header of each request. */
async function begin() {
  const db = new TestDatabase()
  const seen: (string | undefined)[] = []
  const wrapped = readYourWrites(db)(async (req, res) => {
    seen.push(req.headers['tidemark-token']?.toString())
    const [, action, id] = (req.url ?? '').split('/')
    if (action === 'write') await db.write()
    if (action === 'doubt') db.current.doubt()
    if (action === 'primary') db.readPrimary()
    if (id !== undefined) {
      db.gateOf(id).written.open()
      await db.gateOf(id).release.opened
    }
    res.setHeader('X-Echo', req.headers['x-own']?.toString() ?? '')
    res.end(db.describe())
  })
  return { db, seen, origin: await serve(wrapped) }
}

const described = async (response: Promise<Response>) => (await (await response).json()) as Described

/** What `localStorage` is, as a map. */
function memoryStorage(): TokenStorage & { readonly entries: Map<string, string> } {
  const entries = new Map<string, string>()
  return {
    entries,
    get length() {
      return entries.size
    },
    key: index => [...entries.keys()][index] ?? null,
    getItem: key => entries.get(key) ?? null,
    setItem: (key, value) => void entries.set(key, value),
    removeItem: key => void entries.delete(key),
  }
}

describe('withConsistency', () => {
  test('asks for the header, and the next request has the write', async () => {
    const { origin, seen } = await begin()
    const consistent = withConsistency(fetch, { origins: [origin] })
    const first = await consistent(`${origin}/write`, { method: 'POST', headers: { 'x-own': 'mine' } })
    expect(first.headers.get('x-echo')).toBe('mine')
    expect(first.headers.getSetCookie()).toEqual([])
    const { writes } = (await first.json()) as Described
    const next = consistent(new Request(`${origin}/read`, { headers: { 'x-own': 'of a Request' } }))
    expect((await next).headers.get('x-echo')).toBe('of a Request')
    expect((await described(next)).writes).toBe(writes)
    expect(seen).toEqual(['', first.headers.get('tidemark-token')])
  })

  test.each([
    ['the newer last', ['a', 'b']],
    ['the older last', ['b', 'a']],
  ])('concurrent responses lose nothing: %s', async (_, order) => {
    const { db, origin, seen } = await begin()
    const consistent = withConsistency(fetch, { origins: [origin] })
    const pending = new Map<string, Promise<Response>>()
    for (const id of ['a', 'b']) {
      pending.set(id, consistent(`${origin}/write/${id}`))
      await db.gateOf(id).written.opened
    }
    const writes: string[] = []
    for (const id of order) {
      db.gateOf(id).release.open()
      writes.push((await described(pending.get(id)!)).writes)
    }
    expect(new Set(writes).size).toBe(2)
    expect((await described(consistent(`${origin}/read`))).writes).toBe(writes.sort().at(-1))
    // The older is included in the newer, which the client sees by itself.
    expect(seen.at(-1)).not.toContain(',')
  })

  test('a doubt is carried until the primary has settled it', async () => {
    const { origin, seen } = await begin()
    const consistent = withConsistency(fetch, { origins: [origin] })
    await Promise.all([consistent(`${origin}/doubt`), consistent(`${origin}/doubt`)])
    expect((await described(consistent(`${origin}/read`))).uncertain).toBe(true)
    expect(seen.at(-1)).toContain(',')
    expect((await described(consistent(`${origin}/primary`))).uncertain).toBe(false)
    expect((await described(consistent(`${origin}/read`))).uncertain).toBe(false)
  })

  test('other origins get nothing', async () => {
    const { origin, seen } = await begin()
    const headers: (string | undefined)[] = []
    const foreign = await serve((req, res) => {
      headers.push(req.headers['tidemark-token']?.toString())
      res.setHeader('Tidemark-Token', 'planted-by-somebody-else').end()
    })
    const elsewhere = await serve((_req, res) => void res.writeHead(302, { location: foreign }).end())
    const consistent = withConsistency(fetch, { origins: [origin, elsewhere] })
    const token = (await consistent(`${origin}/write`)).headers.get('tidemark-token')
    await consistent(foreign)
    expect(headers).toEqual([undefined])
    // Nor is anything taken from them, when a redirect leads there.
    expect((await consistent(elsewhere)).headers.get('tidemark-token')).toBe('planted-by-somebody-else')
    await consistent(`${origin}/read`)
    expect(seen.at(-1)).toBe(token)
  })

  test('outside of a browser the origins must be given', () => {
    expect(() => withConsistency()).toThrow(ConfigurationError)
  })

  test('a shared storage carries tokens to a new tab; one that fails does no harm', async () => {
    const { origin } = await begin()
    const storage = memoryStorage()
    const options = { origins: [origin], storage }
    const { writes } = await described(withConsistency(fetch, options)(`${origin}/write`))
    expect((await described(withConsistency(fetch, options)(`${origin}/read`))).writes).toBe(writes)
    expect([...storage.entries.keys()]).toEqual([expect.stringMatching(/^Tidemark-Token\.[\w-]{8}$/)])

    const broken = { ...memoryStorage(), setItem: () => throwing(), key: () => throwing(), length: 1 }
    const alone = withConsistency(fetch, { origins: [origin], storage: broken })
    const own = await described(alone(`${origin}/write`))
    expect((await described(alone(`${origin}/read`))).writes).toBe(own.writes)
  })
})

function throwing(): never {
  throw new Error('QuotaExceededError')
}

test('a client holds a bounded number of tokens, and says when it had to let go of some', async () => {
  const { db, origin } = await begin()
  const held = new TokenSet(undefined, 'test')
  for (let i = 0; i < MAX_TOKENS + 10; i++) {
    held.update(db.codec.encode({ ...EMPTY_HISTORY, writes: Position.at(`region-${i}`, 1n) }), null)
  }
  expect(held.all()).toHaveLength(MAX_TOKENS)
  const marks = held.all().filter(text => text.startsWith('uncertain-'))
  expect(marks).toHaveLength(1)

  const response = await fetch(`${origin}/read`, { headers: { 'tidemark-token': held.all().join() } })
  expect(((await response.json()) as Described).uncertain).toBe(true)
  held.update(response.headers.get('tidemark-token'), response.headers.get('tidemark-token-replaces'))
  expect(held.all()).toEqual([response.headers.get('tidemark-token')])
})

test('nothing that a browser would have to load is a Node module or a package', () => {
  const start = resolve(import.meta.dirname, '../../src/http/fetch.ts')
  const files = new Set([start])
  for (const file of files) {
    const source = readFileSync(file, 'utf8')
    for (const [, typeOnly, specifier] of source.matchAll(/^(?:import|export)\s+(type\s)?[^'"]*?from\s+'([^']+)'/gm)) {
      if (typeOnly !== undefined) continue
      expect(specifier, `imported by ${file}`).toMatch(/^\.\.?\/.*\.js$/)
      files.add(resolve(dirname(file), specifier!.replace(/\.js$/, '.ts')))
    }
    expect(source, file).not.toMatch(/\b(Buffer|process|require)\b[.(]|import\(|^import '/m)
  }
  expect([...files].map(file => file.split('/').at(-1)).sort()).toEqual([
    'carrier.ts',
    'engine.ts',
    'errors.ts',
    'fetch.ts',
    'history.ts',
    'layout.ts',
    'position.ts',
    'recent-map.ts',
    'scope.ts',
    'shown.ts',
    'token-set.ts',
  ])
})
