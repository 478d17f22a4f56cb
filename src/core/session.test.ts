import { describe, expect, test } from 'vitest'
import { listen, SECRET, T1, T2 } from '../../test/core/kit.js'
import { enterRead } from './execution/read-form.js'
import { EMPTY_HISTORY, sameHistory, UNCERTAIN_HISTORY } from './history.js'
import { MAX_OFFSET, Position } from './position.js'
import { Session, type SessionContext, type SessionOptions, type Tokens } from './session.js'
import { StoredPositions } from './stored-positions.js'
import { TokenCodec } from './token/codec.js'
import { memoryTokenStore, type TokenStore } from './token-store.js'
import { VirtualClock } from './virtual-clock.js'

const at = (offset: number, lineage = T1) => Position.at(lineage, BigInt(offset))

function bench(store?: TokenStore) {
  const clock = new VirtualClock()
  const codec = new TokenCodec({ secret: SECRET, clock })
  const context: SessionContext = { codec, clock, stored: store && new StoredPositions(store, clock, 50) }
  return {
    clock,
    codec,
    session: (tokens?: Tokens, options: SessionOptions = {}) => new Session(context, tokens, options),
    token: (offset: number, user?: string) => codec.encode({ ...EMPTY_HISTORY, writes: at(offset) }, { boundTo: user }),
  }
}

const written = (session: Session) => session.history.writes.toString()

describe('what it begins with', () => {
  test('nothing, for a stranger without a token', () => {
    const session = bench().session()
    expect(session.history).toBe(EMPTY_HISTORY)
    expect([session.guarantee, session.changed, session.arriving]).toEqual(['read-your-writes', false, undefined])
  })

  test('the join of its tokens, in any order, with repetitions', () => {
    const { session, token } = bench()
    const tokens = [token(5), token(9), token(5), token(7)]
    expect(written(session(tokens))).toBe(`${T1}@9`)
    expect(written(session(tokens.toReversed()))).toBe(`${T1}@9`)
    expect(session(tokens).changed).toBe(false)
  })

  test('a refused token counts as none, with an event, and does no harm to the others', () => {
    const { session, token } = bench()
    const heard = listen('tidemark:token-rejected')
    const good = token(5)
    const bad = `${good.slice(0, -1)}!`
    expect(written(session([bad, good, 'x'.repeat(300), token(99, 'ann')]))).toBe(`${T1}@5`)
    expect(heard.map(({ reason }) => reason)).toEqual(['malformed', 'oversized', 'other-user'])
    expect(session(bad).history).toBe(EMPTY_HISTORY)
  })

  test.each([[null], [7], [{ token: 'x' }], [[null, undefined, {}, ['x']]], [Symbol('x')]])(
    'what is no token counts as none: %o',
    anything => {
      const { session } = bench()
      expect(session(anything as never).history).toBe(EMPTY_HISTORY)
    },
  )

  test('a user who is no text is told of at once, not by the first token that is made', () => {
    const { session } = bench()
    for (const user of [7, null, {}]) expect(() => session(undefined, { user } as never)).toThrow(/user must be a text/)
  })

  test('an uncertain token makes an uncertain session', () => {
    const { session, codec } = bench()
    expect(session([codec.encode(UNCERTAIN_HISTORY), codec.encode(EMPTY_HISTORY)]).history.uncertain).toBe(true)
  })

  test('a known user without an acceptable token may have written elsewhere', () => {
    const { session, token } = bench()
    expect(session(undefined, { user: 'ann' }).history.uncertain).toBe(true)
    expect(session(token(5, 'bob'), { user: 'ann' }).history).toEqual(UNCERTAIN_HISTORY)
    expect(session(token(5, 'ann'), { user: 'ann' }).history.uncertain).toBe(false)
    expect(session(undefined, { user: 'ann' }).changed).toBe(false)
  })
})

describe('its token', () => {
  test('carries its history to the next session, bound to its user', () => {
    const { session } = bench()
    const first = session(undefined, { user: 'ann' })
    first.wrote(at(8))
    first.saw(at(11))
    expect(sameHistory(session(first.token(), { user: 'ann' }).history, first.history)).toBe(true)
    expect(session(first.token(), { user: 'bob' }).history).toEqual(UNCERTAIN_HISTORY)
    expect(session(first.token()).history).toBe(EMPTY_HISTORY)
  })

  test('is made once for a history, and anew for another', async () => {
    const { session, clock } = bench()
    const one = session()
    one.wrote(at(8))
    const token = one.token()
    await clock.advance(1_000)
    expect(one.token()).toBe(token)
    one.wrote(at(9))
    expect(one.token()).not.toBe(token)
  })

  test('is needed when the history differs from the received one, and only then', () => {
    const { session, token } = bench()
    const one = session(token(5))
    one.wrote(at(5))
    one.saw(Position.zero)
    expect(one.changed).toBe(false)
    one.wrote(at(6))
    expect(one.changed).toBe(true)
    const two = session(token(5))
    two.doubt()
    expect(two.changed).toBe(true)
    const three = session(token(5))
    three.saw(at(1))
    expect(three.changed).toBe(true)
  })
})

describe('doubts', () => {
  test('the primary settles what was in doubt when the read began', () => {
    const session = bench().session()
    session.doubt()
    session.settle(at(20), session.doubts)
    expect(session.history).toEqual({ writes: at(20), reads: Position.zero, uncertain: false })
  })

  test('an older read does not settle a later doubt, but its position counts', () => {
    const session = bench().session()
    session.doubt()
    const began = session.doubts
    session.doubt()
    session.settle(at(20), began)
    expect([session.history.uncertain, written(session)]).toEqual([true, `${T1}@20`])
    session.settle(at(21), session.doubts)
    expect(session.history.uncertain).toBe(false)
  })

  test('a doubt that another session brings is a later one', () => {
    const { session } = bench()
    const one = session()
    one.doubt()
    const began = one.doubts
    const other = session()
    other.doubt()
    one.merge(other)
    one.settle(at(20), began)
    expect(one.history.uncertain).toBe(true)
  })

  test('a doubt that came with the token is settled by the first read of the primary', () => {
    const { session, codec } = bench()
    const one = session(codec.encode(UNCERTAIN_HISTORY))
    one.settle(at(20), one.doubts)
    expect([one.history.uncertain, one.changed]).toEqual([false, true])
  })

  test('settling never goes back within a history', () => {
    const session = bench().session()
    session.wrote(at(30))
    session.doubt()
    session.settle(at(20), session.doubts)
    expect(written(session)).toBe(`${T1}@30`)
  })

  test('settling drops what belonged to other histories: it has been reported', () => {
    const session = bench().session()
    session.wrote(at(30))
    session.saw(at(31))
    session.settle(at(5, T2), session.doubts, at(31))
    expect(session.history).toEqual({ writes: at(5, T2), reads: Position.zero, uncertain: false })
  })

  test('but not a write that was entered while the read was under way, as when an old primary answers late', () => {
    const session = bench().session()
    session.doubt()
    const began = session.doubts
    session.wrote(at(5, T2))
    session.settle(at(30), began, at(5, T2))
    expect(session.history.writes.offsetIn(T2)).toBe(5n)
    // The next read of the primary sorts it out.
    session.settle(at(6, T2), session.doubts, at(30))
    expect([written(session), session.history.uncertain]).toEqual([`${T2}@6`, false])
  })

  test('a write in the same history meanwhile does not keep a doubt alive', () => {
    const session = bench().session()
    session.wrote(at(1))
    session.doubt()
    const began = session.doubts
    session.wrote(at(5))
    session.settle(at(6), began)
    expect([written(session), session.history.uncertain]).toEqual([`${T1}@6`, false])
  })

  test.each([
    ['everything', undefined],
    ['a scope', [7]],
  ])('a write of %s meanwhile does, when the doubt is "somewhere in this history", which includes the write', (_, scopes) => {
    const one = bench().session()
    one.doubt(T1, true)
    const began = one.doubts
    one.wrote(at(9), scopes)
    // The primary served the read before the write.
    one.settle(at(5), began)
    expect([one.history.uncertain, one.history.writes.includes(at(9))]).toEqual([true, true])
    one.settle(at(10), one.doubts)
    expect(one.history).toEqual({ writes: at(10), reads: Position.zero, uncertain: false })
  })

  test('as does what was read meanwhile, when something of this history was read without a bound', () => {
    const session = bench().session(undefined, { guarantee: 'monotonic-reads' })
    session.sawUnbounded(T1)
    const began = session.doubts
    session.saw(at(9))
    session.settle(at(5), began)
    expect([session.history.uncertain, session.history.reads.includes(at(9))]).toEqual([true, true])
    session.settle(at(10), session.doubts)
    expect(session.history).toEqual({ writes: at(10), reads: Position.zero, uncertain: false })
  })

  test('of two requests at once with a token that says so, the one that writes needs a new token: what the other settles lacks the write', () => {
    const { session, codec } = bench()
    const token = codec.encode({ ...UNCERTAIN_HISTORY, writes: Position.at(T1, MAX_OFFSET) })
    const [reading, writing] = [session(token), session(token)]
    const began = reading.doubts
    writing.wrote(at(9))
    reading.settle(at(5), began)
    expect([reading.changed, writing.changed]).toEqual([true, true])
    expect(session([reading.token(), writing.token()]).history).toMatchObject({ uncertain: true })
  })
})

describe('forks', () => {
  test('go their own way and come back by joining, in any order, twice if need be', () => {
    const { session } = bench()
    const origin = session()
    origin.wrote(at(10))
    const forks = [session(origin.token()), session(origin.token())]
    forks[0]!.wrote(at(12))
    forks[1]!.wrote(at(15))
    forks[1]!.saw(at(14))
    expect(written(origin)).toBe(`${T1}@10`)
    for (const order of [forks, forks.toReversed(), [...forks, ...forks]]) {
      const merged = session(origin.token()).merge(...order)
      expect(merged.history).toEqual({ writes: at(15), reads: at(14), uncertain: false })
    }
  })
})

describe('settling', () => {
  test('lets go only of what was told: the rest is left for the next read to judge', () => {
    const session = bench().session()
    session.join({
      ...EMPTY_HISTORY,
      uncertain: true,
      marks: new Map([
        [1, at(100)],
        [2, at(200)],
      ]),
    })
    session.settle(Position.at(T2, 300n), session.doubts)
    expect(session.history.marks?.get(2)?.offsetIn(T1)).toBe(200n)
    // Told of the first, not of the second, which is later in the same history.
    session.settle(Position.at(T2, 310n), session.doubts, at(100))
    expect(session.history.marks?.get(1)).toBeUndefined()
    expect(session.history.marks?.get(2)?.offsetIn(T1)).toBe(200n)
    session.settle(Position.at(T2, 320n), session.doubts, at(200))
    expect(session.history).toEqual({ ...EMPTY_HISTORY, writes: Position.at(T2, 320n) })
  })

  test('of an acknowledged write whose position was lost: the next answer of that history says where, a later history that it may be lost', () => {
    const { session } = bench()
    const stays = session()
    stays.doubt(T1, true)
    expect(stays.history.uncertain).toBe(true)
    stays.settle(at(50), stays.doubts)
    expect(stays.history).toEqual({ ...EMPTY_HISTORY, writes: at(50) })
    const left = session()
    left.doubt(T1, true)
    // Nobody has told it yet: it is not dropped by an answer of the new history.
    left.settle(Position.at(T2, 60n), left.doubts)
    expect(left.history.writes.offsetIn(T1)).toBeDefined()
  })

  test('of a write that nobody acknowledged, no more than that its history is there: whatever continues that has nothing to tell', () => {
    const { session } = bench()
    const doubting = session()
    doubting.doubt(T1)
    expect(doubting.history).toEqual({ ...UNCERTAIN_HISTORY, writes: at(0) })
    doubting.settle(at(50), doubting.doubts)
    expect(doubting.history).toEqual({ ...EMPTY_HISTORY, writes: at(50) })
    const knowing = session()
    knowing.wrote(at(20))
    knowing.doubt(T1)
    expect(knowing.history).toEqual({ ...UNCERTAIN_HISTORY, writes: at(20) })
  })

  test('a fork that was told brings that back, also when it wrote nothing', () => {
    const { session } = bench()
    const parent = session()
    parent.wrote(at(100))
    const fork = session()
    fork.join(parent.history)
    const before = fork.history
    fork.settle(Position.at(T2, 300n), fork.doubts, at(100))
    parent.reconcile(fork, before)
    expect(parent.history.writes.toString()).toBe(`${T2}@300`)
  })
})

describe('with a token store', () => {
  const never = <T>() => new Promise<T>(() => {})
  const storeOf = (over: Partial<TokenStore>): TokenStore => ({ ...memoryTokenStore(), ...over })

  test('what another device wrote is known, with or without a token', async () => {
    const { session, token } = bench(memoryTokenStore())
    await session(undefined, { user: 'ann' }).wrote(at(40))
    for (const [tokens, expected] of [
      [undefined, 40],
      [token(30, 'ann'), 40],
      [token(50, 'ann'), 50],
    ] as const) {
      const device = session(tokens, { user: 'ann' })
      await device.arriving
      expect([written(device), device.history.uncertain]).toEqual([`${T1}@${expected}`, false])
      expect(device.changed).toBe(expected === 40)
      expect(device.arriving).toBeUndefined()
    }
  })

  test('is not asked for strangers, nor told of them', async () => {
    const asked: string[] = []
    const { session } = bench(storeOf({ get: async user => void asked.push(user), raise: async user => void asked.push(user) }))
    const stranger = session()
    expect([stranger.arriving, stranger.wrote(at(1))]).toEqual([undefined, undefined])
    expect(asked).toEqual([])
  })

  test('a user that the store does not know is uncertain, also with a token: another device may have written since', async () => {
    const { session, token } = bench(memoryTokenStore())
    const [without, with_] = [session(undefined, { user: 'ann' }), session(token(5, 'ann'), { user: 'ann' })]
    await Promise.all([without.arriving, with_.arriving])
    expect([without.history.uncertain, with_.history.uncertain]).toEqual([true, true])
  })

  test('what the primary then settles, the store knows from then on', async () => {
    const store = memoryTokenStore()
    const { session } = bench(store)
    const one = session(undefined, { user: 'ann' })
    await one.arriving
    one.settle(at(9), one.doubts)
    expect((await store.get('ann'))?.toString()).toBe(`${T1}@9`)
    const other = session(undefined, { user: 'ann' })
    await other.arriving
    expect([written(other), other.history.uncertain]).toEqual([`${T1}@9`, false])
  })

  test('the store that says null says nothing', async () => {
    const { session } = bench(storeOf({ get: async () => null as unknown as undefined }))
    const one = session(undefined, { user: 'ann' })
    await one.arriving
    expect(one.history.uncertain).toBe(true)
  })

  test.each<[string, Partial<TokenStore>]>([
    ['rejects', { get: () => Promise.reject(new Error('down')), raise: () => Promise.reject(new Error('down')) }],
    [
      'throws',
      {
        get: () => {
          throw new Error('down')
        },
        raise: () => {
          throw new Error('down')
        },
      },
    ],
  ])('a store that %s makes reads uncertain, whatever the token, and fails no write', async (_, broken) => {
    const { session, token, clock } = bench(storeOf(broken))
    const heard = listen('tidemark:warning')
    const one = session(token(5, 'ann'), { user: 'ann' })
    await one.arriving
    expect(one.history).toEqual({ writes: at(5), reads: Position.zero, uncertain: true })
    await expect(one.wrote(at(6))).resolves.toBeUndefined()
    expect(written(one)).toBe(`${T1}@6`)
    expect(heard.map(({ message }) => message)).toEqual(['the token store failed (get)', 'the token store failed (raise)'])
    // It is tried again.
    expect(clock.pendingTimers).toBe(1)
  })

  test('what settles a doubt takes nothing away that other devices wrote in the same history meanwhile', async () => {
    const store = memoryTokenStore()
    const { session } = bench(store)
    const [one, other] = [session(undefined, { user: 'ann' }), session(undefined, { user: 'ann' })]
    await one.arriving
    await other.arriving
    one.doubt(T1, true)
    const began = one.doubts
    // The primary has answered at 20, and before that is heard of the other device writes.
    await other.wrote(at(30))
    one.settle(at(20), began)
    expect(one.history.uncertain).toBe(false)
    await new Promise(setImmediate)
    expect(await store.get('ann')).toEqual(at(30))
  })

  test('what could not be stored answers look-ups meanwhile, and is stored when the store is back', async () => {
    const kept = memoryTokenStore()
    await kept.raise('ann', at(1))
    let down = true
    const raise: TokenStore['raise'] = (...args) => (down ? Promise.reject(new Error('down')) : kept.raise(...args))
    const { session, clock } = bench(storeOf({ get: user => kept.get(user), raise }))
    await session(undefined, { user: 'ann' }).wrote(at(6))
    expect((await kept.get('ann'))?.toString()).toBe(`${T1}@1`)
    const device = session(undefined, { user: 'ann' })
    await device.arriving
    expect(written(device)).toBe(`${T1}@6`)
    down = false
    await clock.advance(1_000)
    expect((await kept.get('ann'))?.toString()).toBe(`${T1}@6`)
    expect(clock.pendingTimers).toBe(0)
  })

  test('a store that never answers costs its time-out, once, and then counts as failed', async () => {
    const { session, token, clock } = bench(storeOf({ get: never, raise: never }))
    const one = session(token(5, 'ann'), { user: 'ann' })
    await clock.advance(49)
    expect([one.arriving !== undefined, one.history.uncertain]).toEqual([true, false])
    await clock.advance(1)
    expect([one.arriving, one.history.uncertain]).toEqual([undefined, true])
    let acknowledged = false
    void one.wrote(at(6))?.then(() => {
      acknowledged = true
    })
    await clock.advance(49)
    expect(acknowledged).toBe(false)
    await clock.advance(1)
    expect(acknowledged).toBe(true)
  })

  test('a late answer of a store that had been given up changes nothing', async () => {
    let answer: (position: Position) => void = () => {}
    const get = () =>
      new Promise<Position>(resolve => {
        answer = resolve
      })
    const { session, clock } = bench(storeOf({ get }))
    const one = session(undefined, { user: 'ann' })
    await clock.advance(50)
    const before = one.history
    answer(at(99))
    await clock.advance(0)
    expect(one.history).toBe(before)
  })

  test('a write is acknowledged after the store has it, and only then', async () => {
    let stored = () => {}
    const { session, clock } = bench(
      storeOf({
        raise: () =>
          new Promise(resolve => {
            stored = resolve
          }),
      }),
    )
    let acknowledged = false
    void session(undefined, { user: 'ann' })
      .wrote(at(6))
      ?.then(() => {
        acknowledged = true
      })
    await clock.advance(10)
    expect(acknowledged).toBe(false)
    stored()
    await clock.advance(0)
    expect(acknowledged).toBe(true)
  })

  test('what arrives late is a doubt of its own: a read that began before does not settle it', async () => {
    const { session, clock } = bench(storeOf({ get: never }))
    const one = session(undefined, { user: 'ann' })
    const began = one.doubts
    await clock.advance(50)
    one.settle(at(20), began)
    expect(one.history.uncertain).toBe(true)
  })
})

describe('what another device may have done', () => {
  test('a token from before the login is taken in, and says nothing of what the user did elsewhere', () => {
    const { session, token } = bench()
    const loggedIn = session(token(5), { user: 'ann' })
    expect(written(loggedIn)).toBe(`${T1}@5`)
    expect(loggedIn.history.uncertain).toBe(true)
    expect(session([token(5), token(3, 'ann')], { user: 'ann' }).history.uncertain).toBe(false)
  })

  test('a history that was left and told of is dropped from the store as well', async () => {
    const store = memoryTokenStore()
    await store.raise('ann', at(5))
    const { session } = bench(store)
    const first = session(undefined, { user: 'ann' })
    await first.arriving
    first.settle(at(3, T2), first.doubts, at(5))
    expect(written(first)).toBe(`${T2}@3`)
    expect((await store.get('ann'))?.toString()).toBe(`${T2}@3`)
  })

  test('a new doubt in a session that began uncertain needs a new token', () => {
    const { session } = bench()
    const uncertain = session(undefined, { user: 'ann' })
    expect(uncertain.changed).toBe(false)
    uncertain.doubt()
    expect(uncertain.changed).toBe(true)
  })
})

test('a read that cannot be bounded leaves the session uncertain of the history that it has shown, until that is settled', () => {
  const session = bench().session(undefined, { guarantee: 'monotonic-reads' })
  const read = { form: 'bounded', fence: { kind: 'none' }, doubts: session.doubts, lineage: T1 } as const
  enterRead(session, read, { result: undefined, bound: undefined })
  expect(session.history).toMatchObject({ uncertain: true, reads: Position.at(T1, MAX_OFFSET) })
  // Another history has no say in it, unless the loss was told.
  session.settle(at(20, T2), session.doubts)
  expect(session.history).toMatchObject({ uncertain: false, reads: Position.at(T1, MAX_OFFSET) })
  session.settle(at(9), session.doubts)
  expect(session.history).toMatchObject({ uncertain: false, reads: Position.zero })
})
