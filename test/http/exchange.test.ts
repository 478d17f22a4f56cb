/** The exchange by itself, on the Fetch API's `Headers`; frameworks.test.ts has it on the wire. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ConfigurationError } from '../../src/core/errors.js'
import { EMPTY_HISTORY, type History, joinHistories, UNCERTAIN_HISTORY } from '../../src/core/history.js'
import { Position } from '../../src/core/position.js'
import { MAX_TOKENS } from '../../src/http/carrier.js'
import { type Client, type ExchangeOptions, tokenExchange } from '../../src/http/exchange.js'
import { TokenSet } from '../../src/http/token-set.js'
import { cookieOf, TestDatabase } from './kit.js'

const at = (offset: number, lineage = '7000000000000000001/1') => Position.at(lineage, BigInt(offset))
const written = (position: Position): History => ({ ...EMPTY_HISTORY, writes: position })

function begin(options: ExchangeOptions = {}, db = new TestDatabase()) {
  const open = tokenExchange(db, options)
  return {
    db,
    token: (position: Position, boundTo?: string) => db.codec.encode(written(position), { boundTo }),
    open: (headers: Record<string, string> = {}, client: Client = {}) => open(new Headers(headers), client),
    /** What the response to a request has, when `work` is done to its session. */
    answer(headers: Record<string, string>, work: (session: ReturnType<typeof open>['session']) => void, status = 200) {
      const exchange = open(new Headers(headers))
      work(exchange.session)
      const response = new Headers()
      exchange.apply(response, status)
      return response
    },
  }
}

const nothing = () => {}
const names = (response: Headers) => response.getSetCookie().map(line => line.split(';')[0]!)
const removal = (token: string) => `tidemark.${token.slice(-8)}=`

describe('which way the answer goes', () => {
  const write = (session: { wrote(position: Position): unknown }) => void session.wrote(at(100))
  const ways = (response: Headers) => [response.getSetCookie().length > 0 && 'cookie', response.has('tidemark-token') && 'header']

  test.each([
    ['auto', {}, 200, ['cookie', false]],
    ['auto', { 'tidemark-token': '' }, 200, [false, 'header']],
    ['auto', { 'tidemark-token': '' }, 303, ['cookie', 'header']],
    ['cookie', { 'tidemark-token': '' }, 200, ['cookie', false]],
    ['header', {}, 200, [false, 'header']],
    ['both', {}, 200, ['cookie', 'header']],
  ] as const)('%s, asked with %j, status %i', (carrier, headers, status, expected) => {
    expect(ways(begin({ carrier }).answer(headers, write, status))).toEqual(expected)
  })

  test('a client that uses both carriers is answered through both, and each is told what to let go of', () => {
    const { answer, token } = begin()
    const [a, b] = [token(at(1)), token(at(2))]
    const response = answer({ cookie: cookieOf(a), 'tidemark-token': b }, write)
    const issued = response.get('tidemark-token')!
    expect(names(response)).toEqual([cookieOf(issued), removal(a)])
    expect(response.get('tidemark-token-replaces')).toBe(b.slice(-8))
  })

  test('the attributes of a cookie, also of one that is removed', () => {
    const cookie = { name: 'orders', domain: 'example.com', path: '/shop', sameSite: 'none', maxAgeSeconds: 60 } as const
    const { db, token } = begin()
    const old = token(at(1))
    const exchange = tokenExchange(db, { cookie })(new Headers({ cookie: `orders.${old.slice(-8)}=${old}` }), { overTls: true })
    void exchange.session.wrote(at(2))
    const response = new Headers()
    exchange.apply(response)
    const issued = exchange.session.token()
    const common = 'Path=/shop; HttpOnly; SameSite=none; Domain=example.com; Secure'
    expect(response.getSetCookie()).toEqual([
      `orders.${issued.slice(-8)}=${issued}; Max-Age=60; ${common}`,
      `orders.${old.slice(-8)}=; Max-Age=0; ${common}`,
    ])
  })

  test.each<ExchangeOptions>([
    { header: 'not a header' },
    { cookie: { name: 'a=b' } },
    { cookie: { path: '/; Domain=evil.example' } },
    { cookie: { maxAgeSeconds: 0 } },
    { cookie: { sameSite: 'none', secure: false } },
  ])('options that cannot work are refused at once: %j', options => {
    expect(() => tokenExchange(new TestDatabase(), options)).toThrow(ConfigurationError)
  })
})

describe('several tokens', () => {
  test('one that says it all is kept, the others go, and no new one is made', () => {
    const { answer, token } = begin()
    const tokens = [token(at(2)), token(at(3)), token(at(1))]
    const response = answer({ cookie: tokens.map(cookieOf).join('; ') }, nothing)
    expect(names(response)).toEqual([removal(tokens[0]!), removal(tokens[2]!)])
  })

  test('none that says it all: a new one replaces them', () => {
    const { answer, token, db } = begin()
    const tokens = [token(at(2)), token(at(3, 'elsewhere'))]
    const [set, ...removed] = names(answer({ cookie: tokens.map(cookieOf).join('; ') }, nothing))
    const issued = db.codec.decode(set!.split('=')[1]!)
    expect(issued.writes.compare(at(2).join(at(3, 'elsewhere')))).toBe('equal')
    expect(removed).toEqual(tokens.map(removal))
  })

  test('an uncertain one is never kept in place of others: what settles it may know nothing of them', () => {
    const { answer, db } = begin()
    const tokens = [1, 2]
      .map(() => db.codec.encode(UNCERTAIN_HISTORY))
      .map((token, i) => (i === 0 ? token : db.codec.encode({ ...UNCERTAIN_HISTORY, writes: at(i) })))
    const [set] = names(answer({ cookie: tokens.map(cookieOf).join('; ') }, nothing))
    expect(tokens.map(cookieOf)).not.toContain(set)
    expect(db.codec.decode(set!.split('=')[1]!).uncertain).toBe(true)
  })

  test("a doubt of a request's own gets a token of its own, also when the session was uncertain before", () => {
    const { answer, db } = begin()
    const received = db.codec.encode(UNCERTAIN_HISTORY)
    expect(names(answer({ cookie: cookieOf(received) }, nothing))).toEqual([])
    const [set, ...removed] = names(answer({ cookie: cookieOf(received) }, session => session.doubt()))
    expect(set).not.toBe(cookieOf(received))
    expect(db.codec.decode(set!.split('=')[1]!).uncertain).toBe(true)
    expect(removed).toEqual([removal(received)])
  })

  test('refused ones go when another is issued, and are no reason to answer', () => {
    const { answer } = begin()
    const forger = begin({}, new TestDatabase({ secret: 'another secret, just as long' }))
    const refused = [forger.token(at(9)), forger.token(at(8), 'bob')]
    const cookie = refused.map(cookieOf).join('; ')
    expect(names(answer({ cookie }, nothing))).toEqual([])
    const [set, ...removed] = names(answer({ cookie }, session => void session.wrote(at(1))))
    expect(set).not.toMatch(/=$/)
    expect(removed).toEqual(refused.map(removal))
  })

  test('a refused copy never takes the place of the accepted one, whichever of the two sorts first', () => {
    const { answer, token } = begin()
    const accepted = token(at(5))
    // Within the signature: it says the same, and nobody has vouched for it.
    for (const char of ['-', '0', 'A', 'Z', 'z']) {
      const copy = `${accepted.slice(0, -6)}${char}${accepted.slice(-5)}`
      if (copy === accepted) continue
      expect(names(answer({ cookie: [accepted, copy].map(cookieOf).join('; ') }, nothing))).toEqual([removal(copy)])
    }
  })

  test("another user's stays in the browser until a token includes what that user wrote", () => {
    const { answer, open, token } = begin()
    const [early, late] = [token(at(5), 'ann'), token(at(50), 'ann')]
    const cookie = [early, late].map(cookieOf).join('; ')
    const [set, ...removed] = names(answer({ cookie }, session => void session.wrote(at(10))))
    expect(removed).toEqual([removal(early)])
    // Ann signs in: an unbound token is accepted for her as well, and hers adds what it lacks.
    const { session } = open({ cookie: `${cookieOf(late)}; ${set}` }, { user: 'ann' })
    expect(session.history.writes.compare(at(50))).toBe('equal')
  })
})

describe('more tokens than are read', () => {
  const many = (token: (position: Position) => string, count: number) => Array.from({ length: count }, (_, i) => token(at(i + 1)))

  test('the session is uncertain rather than ignorant of a write, and the client gets down to one', () => {
    const { open, token } = begin()
    let held = many(token, MAX_TOKENS * 2 + 5).reverse()
    const sizes = [held.length]
    for (let request = 0; held.length > 1 && request < 5; request++) {
      const { session, apply } = open({ cookie: held.map(cookieOf).join('; ') })
      expect(session.history.uncertain).toBe(held.length > MAX_TOKENS)
      session.settle(at(1_000), session.doubts)
      const response = new Headers()
      apply(response)
      for (const pair of names(response)) {
        if (pair.endsWith('=')) held = held.filter(text => removal(text) !== pair)
        else held.push(pair.split('=')[1]!)
      }
      sizes.push(held.length)
    }
    expect(sizes).toEqual([69, 38, 7, 1])
  })

  test('a heap of garbage sends nobody to the primary', () => {
    const { open } = begin()
    const forger = begin({}, new TestDatabase({ secret: 'another secret, just as long' }))
    const tokens = many(forger.token, MAX_TOKENS + 1)
    expect(open({ cookie: tokens.map(cookieOf).join('; ') }).session.history).toEqual(EMPTY_HISTORY)
    expect(open({ 'tidemark-token': tokens.join() }).session.history).toEqual(EMPTY_HISTORY)
    expect(open({ 'tidemark-token': `${tokens[0]}, uncertain-12345678` }).session.history).toEqual(EMPTY_HISTORY)
  })

  test("the client's mark that it let go of some counts beside an acceptable token, and is then replaced", () => {
    const { open, token } = begin()
    const kept = token(at(1))
    const { session, apply } = open({ 'tidemark-token': `${kept}, uncertain-12345678` })
    expect(session.history.uncertain).toBe(true)
    const response = new Headers()
    apply(response)
    expect(response.get('tidemark-token-replaces')).toBe(`${kept.slice(-8)}, 12345678`)
    // Not believed, it stays, whatever the request wrote itself.
    const alone = open({ 'tidemark-token': 'uncertain-12345678' })
    void alone.session.wrote(at(2))
    const answer = new Headers()
    alone.apply(answer)
    expect([answer.has('tidemark-token'), answer.has('tidemark-token-replaces')]).toEqual([true, false])
  })
})

/**
 * The argument in carrier.ts, tried out: requests of one client overlap in any way, their answers arrive in any order, some
 * of them again later (out of a cache). The client must never hold less than what arrived answers told of.
 */
describe('any interleaving of requests and answers', () => {
  /** What a client holds, and how an answer changes it. */
  interface Holder {
    request(): { readonly cookie?: string; readonly 'tidemark-token'?: string }
    take(response: Headers): void
  }

  function cookieHolder(): Holder {
    const jar = new Map<string, string>()
    return {
      request: () => ({ cookie: [...jar].map(([name, value]) => `${name}=${value}`).join('; ') }),
      take(response) {
        for (const pair of names(response)) {
          const [name, value] = pair.split('=')
          if (value === '') jar.delete(name!)
          else jar.set(name!, value!)
        }
      },
    }
  }

  function headerHolder(): Holder {
    const held = new TokenSet(undefined, 'test')
    return {
      request: () => ({ 'tidemark-token': held.all().join(', ') }),
      take: response => held.update(response.get('tidemark-token'), response.get('tidemark-token-replaces')),
    }
  }

  /** The control: one slot, the last answer wins. */
  function slotHolder(): Holder {
    let token = ''
    return {
      request: () => ({ 'tidemark-token': token }),
      take(response) {
        token = response.get('tidemark-token') ?? token
      },
    }
  }

  type Step =
    | { readonly kind: 'request'; readonly work: 'read' | 'read-primary' | 'write' | 'lose-the-answer'; readonly lineage: number }
    | { readonly kind: 'arrive'; readonly which: number; readonly again: boolean }

  const steps = fc.array(
    fc.oneof(
      fc.record({
        kind: fc.constant('request' as const),
        work: fc.constantFrom('read' as const, 'read-primary' as const, 'write' as const, 'lose-the-answer' as const),
        lineage: fc.nat({ max: 1 }),
      }),
      fc.record({ kind: fc.constant('arrive' as const), which: fc.nat({ max: 20 }), again: fc.boolean() }),
    ),
    { maxLength: 40 },
  )

  /** Returns what the client has lost at the end, or nothing. */
  function play(holder: Holder, plan: readonly Step[]): string | undefined {
    const { db, open } = begin()
    const log = [at(1, 'one'), at(1, 'two')]
    const pending: { readonly response: Headers; readonly told: Position }[] = []
    let owed = Position.zero
    for (const step of plan) {
      if (step.kind === 'request') {
        const { session, apply } = open(holder.request())
        let told = Position.zero
        if (step.work === 'write' || step.work === 'lose-the-answer') {
          const { lineage, offset } = log[step.lineage]!.entries[0]!
          told = log[step.lineage] = Position.at(lineage, offset + 1n)
          if (step.work === 'write') void session.wrote(told)
          else session.doubt()
        } else if (step.work === 'read-primary') session.settle(log[0]!.join(log[1]!), session.doubts)
        const response = new Headers()
        apply(response)
        pending.push({ response, told })
      } else if (pending.length > 0) {
        const which = step.which % pending.length
        const { response, told } = pending[which]!
        if (!step.again) pending.splice(which, 1)
        holder.take(response)
        owed = owed.join(told)
      }
    }
    const request = holder.request()
    const tokens = [
      ...(request.cookie ?? '').split('; ').map(pair => pair.split('=')[1] ?? ''),
      ...(request['tidemark-token'] ?? '').split(', '),
    ]
    const held = tokens
      .filter(Boolean)
      .map(token => db.codec.decode(token))
      .reduce(joinHistories, EMPTY_HISTORY)
    return held.uncertain || held.writes.includes(owed) ? undefined : `${held.writes} lacks ${owed}`
  }

  test.each([
    ['cookies', cookieHolder],
    ['the header', headerHolder],
  ])('loses nothing with %s', (_, holder) => {
    fc.assert(
      fc.property(steps, plan => {
        expect(play(holder(), plan)).toBeUndefined()
      }),
      { numRuns: 2_000 },
    )
  })

  test('and one slot does lose: the plans are able to show it', () => {
    const result = fc.check(
      fc.property(steps, plan => play(slotHolder(), plan) === undefined),
      { numRuns: 2_000 },
    )
    expect(result.failed).toBe(true)
  })
})

describe('logging out', () => {
  test('takes away what the client carried of the user, by both carriers, brings nothing, and leaves other users theirs', () => {
    const { open, token } = begin()
    const [own, anonymous, other] = [token(at(1), 'ann'), token(at(2)), token(at(3), 'ben')]
    const headers = { cookie: `${cookieOf(own)}; ${cookieOf(other)}`, 'tidemark-token': anonymous }
    const exchange = open(headers, { user: 'ann' })
    void exchange.session.wrote(at(9))
    exchange.session.end()
    const response = new Headers()
    exchange.apply(response)
    expect(names(response)).toEqual([removal(own)])
    expect(response.get('tidemark-token')).toBeNull()
    expect(response.get('tidemark-token-replaces')).toBe(anonymous.slice(-8))
  })

  test('a client that holds tokens by header lets go of them', () => {
    const { db, answer, token } = begin()
    const held = new TokenSet(undefined, 'Tidemark-Token')
    held.update(token(at(1)), null)
    const response = answer({ 'tidemark-token': held.all().join(', ') }, session => session.end())
    held.update(response.get('tidemark-token'), response.get('tidemark-token-replaces'))
    expect(held.all()).toEqual([])
    expect(db.session(held.all()).history).toBe(EMPTY_HISTORY)
  })
})

describe('marks of scopes', () => {
  const marked = (scope: number, offset: number): History => ({ ...EMPTY_HISTORY, marks: new Map([[scope, at(offset)]]) })

  test('a token is let go of only by one that includes its marks', () => {
    const { db } = begin()
    const held = new TokenSet(undefined, 'Tidemark-Token')
    held.update(db.codec.encode(marked(1, 50)), null)
    // Of another scope, and later: includes nothing of the first.
    held.update(db.codec.encode(marked(2, 90)), null)
    expect(held.all()).toHaveLength(2)
    expect(db.session(held.all()).history.marks?.get(1)?.toString()).toBe(at(50).toString())
    held.update(db.codec.encode(joinHistories(marked(1, 60), marked(2, 90))), null)
    expect(held.all()).toHaveLength(1)
    held.update(db.codec.encode(written(at(95))), null)
    expect(held.all()).toHaveLength(1)
  })
})
