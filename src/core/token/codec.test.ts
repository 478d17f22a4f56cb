import { createHash, createHmac } from 'node:crypto'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { SECRET, T1, T2 } from '../../../test/core/kit.js'
import { ConfigurationError } from '../errors.js'
import { EMPTY_HISTORY, type History, sameHistory, UNCERTAIN_HISTORY } from '../history.js'
import { Position } from '../position.js'
import { VirtualClock } from '../virtual-clock.js'
import { secretOrRandom, TokenCodec, type TokenOptions } from './codec.js'
import { layOut, MAX_TOKEN_LENGTH, readLayout, SIGNATURE_BYTES, TokenRejectedError, type TokenRejection } from './layout.js'

const OTHER_SECRET = 'another secret of enough bytes'
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
const MAX = 2n ** 64n - 1n

const clock = new VirtualClock()
const codec = new TokenCodec({ secret: SECRET, clock })

const lineage = fc.oneof(
  fc.tuple(fc.bigInt(0n, MAX + 5n), fc.integer({ min: 0, max: 2 ** 32 + 5 })).map(([system, epoch]) => `${system}/${epoch}`),
  fc.string({ unit: 'binary', maxLength: 30 }),
  fc.string({ maxLength: 60 }),
  fc.constantFrom(T1, T2, '', '01/1', '1/01', '\ufeffmark', '\ud800', 'ü'.repeat(24), 'ü'.repeat(25), 'x'.repeat(300)),
)
const position = (maxLength: number) =>
  fc.array(fc.record({ lineage, offset: fc.bigInt(0n, MAX) }), { maxLength }).map(entries => Position.of(entries))
const historyOf = (maxLength: number): fc.Arbitrary<History> =>
  fc.record({ writes: position(maxLength), reads: position(maxLength), uncertain: fc.boolean() })
const user = fc.option(fc.string(), { nil: undefined })

function rejection(token: string, options?: TokenOptions, by = codec): TokenRejection | undefined {
  try {
    by.decode(token, options)
    return undefined
  } catch (error) {
    // Nothing else may be thrown.
    expect(error).toBeInstanceOf(TokenRejectedError)
    return (error as TokenRejectedError).reason
  }
}

const wrote = (offset: bigint, at = T1): History => ({ ...EMPTY_HISTORY, writes: Position.at(at, offset) })
const bytesOf = (token: string) => Buffer.from(token, 'base64url')

/** Signs any body as the holder of the secret would: for tokens of versions to come. */
function signed(body: Uint8Array): string {
  const signature = createHmac('sha256', SECRET).update(body).digest().subarray(0, SIGNATURE_BYTES)
  return Buffer.concat([body, signature]).toString('base64url')
}
const bodyOf = (token: string) => bytesOf(token).subarray(0, -SIGNATURE_BYTES)

describe('round trip', () => {
  test('a history in up to two ordinary lineages comes back as it was', () => {
    const ordinary = fc
      .array(fc.record({ lineage: fc.constantFrom(T1, T2, 'eu'), offset: fc.bigInt(0n, MAX) }), { maxLength: 3 })
      .map(entries => Position.of(entries))
    fc.assert(
      fc.property(ordinary, ordinary, fc.boolean(), user, (writes, reads, uncertain, boundTo) => {
        const history = { writes, reads, uncertain }
        expect(sameHistory(codec.decode(codec.encode(history, { boundTo }), { boundTo }), history)).toBe(true)
      }),
    )
  })

  test('whatever the history: nothing is lost (it comes back the same, or uncertain), and it fits', () => {
    let [kept, folded] = [0, 0]
    fc.assert(
      fc.property(historyOf(8), user, (history, boundTo) => {
        const token = codec.encode(history, { boundTo })
        expect(token.length).toBeLessThanOrEqual(MAX_TOKEN_LENGTH)
        expect(token).toMatch(/^[\w-]+$/)
        const back = codec.decode(token, { boundTo })
        if (sameHistory(back, history)) kept++
        else {
          folded++
          expect(back.uncertain).toBe(true)
        }
      }),
      { numRuns: 2_000 },
    )
    // Both ways were taken, or this test says nothing.
    expect(kept).toBeGreaterThan(100)
    expect(folded).toBeGreaterThan(100)
  })

  test.each([
    ['a fifth lineage', Array.from({ length: 5 }, (_, i) => `7/${i}`)],
    ['a name that is longer than the layout allows', ['x'.repeat(49)]],
    ['a name that is much longer', ['x'.repeat(5_000)]],
    ['a name that UTF-8 cannot carry', ['\ud800']],
    ['names that do not fit together', Array.from({ length: 4 }, (_, i) => `${i}`.repeat(48))],
  ])('%s makes the token uncertain', (_, lineages) => {
    const writes = Position.of(lineages.map(each => ({ lineage: each, offset: 1n })))
    const back = codec.decode(codec.encode({ ...EMPTY_HISTORY, writes }))
    expect(sameHistory(back, UNCERTAIN_HISTORY)).toBe(true)
  })

  test('four lineages in writes and reads fit, bound to a user', () => {
    const writes = Position.of(Array.from({ length: 4 }, (_, i) => ({ lineage: `${MAX}/${i}`, offset: MAX })))
    const history = { writes, reads: writes, uncertain: false }
    expect(sameHistory(codec.decode(codec.encode(history, { boundTo: 'u' }), { boundTo: 'u' }), history)).toBe(true)
  })

  test('a name that begins with a byte order mark keeps it', () => {
    expect(codec.decode(codec.encode(wrote(1n, '\ufeffa'))).writes.offsetIn('\ufeffa')).toBe(1n)
  })

  test('what was laid out stays as it is when another token is laid out, and holds nothing of one before', () => {
    const content = (history: History) => ({ history, issuedAt: 1, keyId: new Uint8Array(4), binding: undefined })
    const long = Position.of(Array.from({ length: 4 }, (_, i) => ({ lineage: `${MAX}/${i}`, offset: MAX })))
    const alone = Uint8Array.from(layOut(content(wrote(7n))))
    const before = layOut(content({ writes: long, reads: long, uncertain: true }))
    const copy = Uint8Array.from(before)
    expect(layOut(content(wrote(7n)))).toEqual(alone)
    expect(before).toEqual(copy)
    expect(alone.subarray(-SIGNATURE_BYTES)).toEqual(new Uint8Array(SIGNATURE_BYTES))
  })

  test('an ordinary token is short', () => {
    expect(codec.encode(wrote(MAX), { boundTo: 'a user' }).length).toBeLessThan(90)
  })
})

describe('what was altered is refused', () => {
  const token = codec.encode({ ...wrote(0x1234_5678n), reads: Position.at(T2, 9n) }, { boundTo: 'ann' })

  test('every single flipped bit', () => {
    const bytes = bytesOf(token)
    const reasons = new Set<TokenRejection | undefined>()
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const altered = Buffer.from(bytes)
      altered[bit >> 3]! ^= 1 << (bit & 7)
      reasons.add(rejection(altered.toString('base64url'), { boundTo: 'ann' }))
    }
    expect(reasons).toEqual(new Set(['malformed', 'unsupported-version', 'unknown-key', 'bad-signature']))
  })

  test('every other character in every place, also where its bits are spare', () => {
    // Bound tokens differ in length by 2 bytes mod 3 from these, so that all three kinds of ends come up.
    for (const each of [token, codec.encode(wrote(1n)), codec.encode(wrote(1n, 'a')), codec.encode(wrote(1n, 'ab'))]) {
      for (let i = 0; i < each.length; i++) {
        for (const char of ALPHABET) {
          if (char === each[i]) continue
          expect(rejection(each.slice(0, i) + char + each.slice(i + 1), { boundTo: 'ann' })).toBeDefined()
        }
      }
    }
  })

  test('every truncation, at either end', () => {
    for (let i = 0; i < token.length; i++) {
      expect(rejection(token.slice(0, i), { boundTo: 'ann' })).toBeDefined()
      if (i > 0) expect(rejection(token.slice(i), { boundTo: 'ann' })).toBeDefined()
    }
  })

  test('every addition of characters', () => {
    for (const char of [...ALPHABET, '=', ' ', '\n', '+', '/']) {
      expect(rejection(token + char, { boundTo: 'ann' })).toBeDefined()
      expect(rejection(char + token, { boundTo: 'ann' })).toBeDefined()
    }
  })

  test('the same bytes in another text: one token has one text', () => {
    const texts = ['a', 'ab', 'abc'].map(name => codec.encode(wrote(1n, name)))
    expect(new Set(texts.map(text => text.length % 4))).toEqual(new Set([0, 2, 3]))
    let respelled = 0
    for (const text of texts) {
      for (const last of ALPHABET) {
        const other = text.slice(0, -1) + last
        if (other === text || !bytesOf(other).equals(bytesOf(text))) continue
        respelled++
        expect(rejection(other)).toBe('malformed')
      }
      expect(rejection(`${text}=`)).toBe('malformed')
      expect(rejection(`${text.slice(0, 5)}\n${text.slice(5)}`)).toBe('malformed')
      const withPlus = text.replaceAll('-', '+').replaceAll('_', '/')
      if (withPlus !== text) expect(rejection(withPlus)).toBe('malformed')
    }
    // 4 spare bits at one end, 2 at another.
    expect(respelled).toBe(15 + 3)
  })

  test('two tokens cut anywhere and put together', () => {
    const one = bytesOf(codec.encode(wrote(1n)))
    const two = bytesOf(codec.encode(wrote(2n ** 60n)))
    expect(one.length).toBe(two.length)
    for (let cut = 1; cut < one.length; cut++) {
      const spliced = Buffer.concat([one.subarray(0, cut), two.subarray(cut)])
      if (spliced.equals(one) || spliced.equals(two)) continue
      expect(rejection(spliced.toString('base64url'))).toBe('bad-signature')
    }
  })

  test('the history of one token with the user of another', () => {
    const [anns, bobs] = [
      bytesOf(codec.encode(wrote(1n), { boundTo: 'ann' })),
      bytesOf(codec.encode(wrote(9n), { boundTo: 'bob' })),
    ]
    const crossed = Buffer.from(bobs)
    anns.copy(crossed, 12, 12, 20)
    expect(rejection(crossed.toString('base64url'), { boundTo: 'ann' })).toBe('bad-signature')
  })
})

describe('garbage is refused, and nothing else is thrown', () => {
  test('any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), text => {
        expect(rejection(text)).toBe(text.length > MAX_TOKEN_LENGTH ? 'oversized' : 'malformed')
      }),
    )
  })

  test('any bytes, also those that begin like a token of this secret', () => {
    const head = bytesOf(codec.encode(EMPTY_HISTORY)).subarray(0, 12)
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 192 - 12 }), bytes => {
        expect(rejection(Buffer.from(bytes).toString('base64url'))).toBeDefined()
        expect(['malformed', 'bad-signature']).toContain(rejection(Buffer.concat([head, bytes]).toString('base64url')))
      }),
      { numRuns: 2_000 },
    )
  })

  test('what is no text at all: a parser of query strings makes lists and objects of parameters', () => {
    fc.assert(
      fc.property(
        fc.anything().filter(each => typeof each !== 'string'),
        each => {
          expect(rejection(each as string)).toBe('malformed')
        },
      ),
    )
  })

  test('what is too long is refused for that alone', () => {
    expect(rejection('A'.repeat(MAX_TOKEN_LENGTH + 1))).toBe('oversized')
    expect(rejection('A'.repeat(1_000_000))).toBe('oversized')
    expect(rejection('A'.repeat(MAX_TOKEN_LENGTH))).toBe('unsupported-version')
    expect(rejection('')).toBe('malformed')
  })

  test('a token whose counts promise more than there is', () => {
    const head = bodyOf(codec.encode(EMPTY_HISTORY)).subarray(0, 12)
    const body = (...rest: number[]) => signed(Buffer.concat([head, Uint8Array.from(rest)]))
    expect(rejection(body(0))).toBeUndefined()
    for (const rest of [
      [255], // 255 lineages
      [1, 0, 49], // a name of 49 bytes
      [1, 0, 5, 65], // a name that ends too early
      [1, 2, 0], // a lineage of an unknown kind
      [1, 0, 1, 0xff], // not UTF-8
      [0, 1, 255], // 255 entries
      [0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1], // an entry of a lineage that is not there
    ]) {
      expect(rejection(body(...rest)), `${rest}`).toBe('malformed')
    }
  })
})

describe('of another version', () => {
  const body = bodyOf(codec.encode(wrote(7n)))

  test('a section that is not known here makes uncertain, and what came before it is kept', () => {
    const back = codec.decode(signed(Buffer.concat([body, Uint8Array.of(4, 1, 2, 3)])))
    expect(sameHistory(back, { ...wrote(7n), uncertain: true })).toBe(true)
  })

  test('a flag that is not known here makes uncertain', () => {
    const flagged = Buffer.from(body)
    flagged[1]! |= 4
    expect(codec.decode(signed(flagged)).uncertain).toBe(true)
  })

  test('a section that comes twice counts twice', () => {
    const again = Buffer.concat([body, Uint8Array.of(1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 3)])
    expect(sameHistory(codec.decode(signed(again)), wrote(7n))).toBe(true)
  })

  test('a version that is not known here is refused', () => {
    const newer = Buffer.from(body)
    newer[0] = 2
    expect(rejection(signed(newer))).toBe('unsupported-version')
  })
})

describe('users', () => {
  test('a bound token is for its user only, and not for nobody', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (ann, bob) => {
        const token = codec.encode(wrote(1n), { boundTo: ann })
        expect(rejection(token, { boundTo: ann })).toBeUndefined()
        expect(rejection(token, { boundTo: bob })).toBe(ann === bob ? undefined : 'other-user')
        expect(rejection(token)).toBe('other-user')
      }),
    )
  })

  test('two users whose names UTF-8 cannot tell apart are two users', () => {
    const token = codec.encode(wrote(1n), { boundTo: '\ud800' })
    expect(rejection(token, { boundTo: '\ud800' })).toBeUndefined()
    for (const other of ['\ud801', '\ufffd']) expect(rejection(token, { boundTo: other })).toBe('other-user')
  })

  test('an unbound token is for anybody', () => {
    expect(rejection(codec.encode(wrote(1n)), { boundTo: 'ann' })).toBeUndefined()
  })

  test('does not give the user away: the binding depends on the secret', () => {
    const binding = (secret: string) =>
      readLayout(bytesOf(new TokenCodec({ secret, clock }).encode(EMPTY_HISTORY, { boundTo: 'ann' }))).binding
    expect(binding(SECRET)).toHaveLength(8)
    expect(binding(SECRET)).not.toEqual(binding(OTHER_SECRET))
    expect(Buffer.from(binding(SECRET)!)).not.toEqual(createHash('sha256').update('ann').digest().subarray(0, 8))
  })
})

describe('time of issue', () => {
  const issuedAhead = (ms: number) => {
    const ahead = new VirtualClock()
    ahead.wallOffsetMs += ms
    return new TokenCodec({ secret: SECRET, clock: ahead }).encode(wrote(1n))
  }

  test('the future is refused, a skew of clocks tolerated', () => {
    expect(rejection(issuedAhead(60_000))).toBeUndefined()
    expect(rejection(issuedAhead(60_001))).toBe('from-the-future')
    const strict = new TokenCodec({ secret: SECRET, clock, maxClockSkewMs: 0 })
    expect(rejection(issuedAhead(0), {}, strict)).toBeUndefined()
    expect(rejection(issuedAhead(1), {}, strict)).toBe('from-the-future')
  })

  test('a token does not grow too old: age says nothing of what replicas have applied', () => {
    expect(rejection(issuedAhead(-10 * 365 * 86_400_000))).toBeUndefined()
  })

  test('is carried to the millisecond', () => {
    expect(readLayout(bytesOf(codec.encode(EMPTY_HISTORY))).issuedAt).toBe(clock.wallNow())
  })
})

describe('genuine tokens are remembered by their text', () => {
  const hour = 3_600_000

  test('whoever came before, and however many: each hears what a codec that remembers nothing would say', () => {
    const ahead = new VirtualClock()
    ahead.wallOffsetMs += hour
    const issuers = [codec, new TokenCodec({ secret: SECRET, clock: ahead }), new TokenCodec({ secret: OTHER_SECRET, clock })]
    const users = [undefined, 'ann', 'bob']
    const genuine = issuers.flatMap(by => users.map(boundTo => by.encode(wrote(1n), { boundTo })))
    const forged = genuine.map(token => `${token.slice(0, -1)}${token.endsWith('A') ? 'Q' : 'A'}`)
    const step = fc.record({
      token: fc.constantFrom(...genuine, ...forged),
      boundTo: fc.constantFrom(...users),
      wallMs: fc.constantFrom(0, hour),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), steps => {
        const moving = new VirtualClock()
        const create = () => new TokenCodec({ secret: SECRET, clock: moving })
        const remembering = create()
        for (const { token, boundTo, wallMs } of steps) {
          moving.wallOffsetMs = clock.wallOffsetMs + wallMs
          expect(rejection(token, { boundTo }, remembering)).toBe(rejection(token, { boundTo }, create()))
        }
      }),
    )
  })

  test('what it says is said again, also when more have come than are remembered', () => {
    const tokens = Array.from({ length: 3_000 }, (_, i) => codec.encode(wrote(BigInt(i)), { boundTo: 'ann' }))
    for (const _ of [1, 2]) {
      tokens.forEach((token, i) => {
        const content = codec.open(token, { boundTo: 'ann' })
        expect(content.history.writes.offsetIn(T1)).toBe(BigInt(i))
        expect(content).toEqual({ ...readLayout(bytesOf(token)), keyId: expect.anything(), binding: expect.anything() })
        expect([...content.keyId, ...content.binding!]).toEqual([
          ...bytesOf(token).subarray(2, 6),
          ...bytesOf(token).subarray(12, 20),
        ])
      })
    }
  })
})

describe('secrets', () => {
  test('another secret is refused as an unknown key', () => {
    const other = new TokenCodec({ secret: OTHER_SECRET, clock })
    expect(rejection(other.encode(wrote(1n)))).toBe('unknown-key')
  })

  test('rotation: the first signs, all are accepted, and a key that is gone is gone', () => {
    const [before, during, after] = [[SECRET, OTHER_SECRET], [OTHER_SECRET, SECRET], [OTHER_SECRET]].map(
      secret => new TokenCodec({ secret, clock }),
    )
    const [old, fresh] = [before!.encode(wrote(1n), { boundTo: 'ann' }), during!.encode(wrote(2n), { boundTo: 'ann' })]
    for (const each of [before!, during!]) {
      expect(each.decode(old, { boundTo: 'ann' }).writes.offsetIn(T1)).toBe(1n)
      expect(each.decode(fresh, { boundTo: 'ann' }).writes.offsetIn(T1)).toBe(2n)
    }
    expect(rejection(old, { boundTo: 'ann' }, after)).toBe('unknown-key')
    expect(rejection(fresh, { boundTo: 'ann' }, after)).toBeUndefined()
    expect(rejection(fresh, { boundTo: 'bob' }, during)).toBe('other-user')
  })

  test.each([['', 'x'.repeat(15)], [[]], [['x'.repeat(15)]], [[SECRET, 'short']]].flat())('%j is no secret', secret => {
    expect(() => new TokenCodec({ secret })).toThrow(ConfigurationError)
  })

  test('length is counted in bytes', () => {
    expect(() => new TokenCodec({ secret: 'ü'.repeat(8) })).not.toThrow()
    expect(() => new TokenCodec({ secret: 'ü'.repeat(7) })).toThrow(ConfigurationError)
  })

  test('signatures and bindings are compared in constant time', () => {
    const source = readFileSync(new URL('./codec.ts', import.meta.url), 'utf8')
    expect(source.match(/timingSafeEqual\((sign|bind)\(/g)).toEqual(['timingSafeEqual(sign(', 'timingSafeEqual(bind('])
    expect(source).not.toMatch(/\.(equals|compare)\(/)
  })
})

describe('secretOrRandom', () => {
  afterEach(() => vi.unstubAllEnvs())
  const warnings: string[] = []
  const warn = (message: string) => warnings.push(message)

  test.each(['production', 'development'])('takes what is configured, in %s', mode => {
    vi.stubEnv('NODE_ENV', mode)
    expect(secretOrRandom(SECRET, warn)).toBe(SECRET)
    expect(secretOrRandom([SECRET], warn)).toEqual([SECRET])
    expect(warnings).toEqual([])
  })

  test.each([undefined, ''])('refuses to invent one in production (%j)', secret => {
    vi.stubEnv('NODE_ENV', 'production')
    expect(() => secretOrRandom(secret, warn)).toThrow(ConfigurationError)
  })

  test.each([undefined, ''])('invents a good one elsewhere, another each time, and warns (%j)', secret => {
    vi.stubEnv('NODE_ENV', 'test')
    const invented = [secretOrRandom(secret, warn), secretOrRandom(secret, warn)] as string[]
    expect(warnings.splice(0)).toHaveLength(2)
    expect(invented[0]).not.toBe(invented[1])
    expect(rejection(new TokenCodec({ secret: invented[0]! }).encode(EMPTY_HISTORY))).toBe('unknown-key')
  })
})

test('a history of many marks in many lineages folds rather than overflows', () => {
  const codec = new TokenCodec({ secret: SECRET })
  const lineages = ['1', '2', '3', '4'].map(epoch => `7000000000000000001/${epoch}`)
  const position = Position.of(lineages.map((lineage, i) => ({ lineage, offset: BigInt(i + 1) })))
  const marks = new Map(Array.from({ length: 8 }, (_, scope) => [scope, position] as const))
  const history = { writes: Position.zero, marks, reads: position, uncertain: false }
  const back = codec.decode(codec.encode(history))
  expect(back.uncertain || back.writes.includes(position)).toBe(true)
})
