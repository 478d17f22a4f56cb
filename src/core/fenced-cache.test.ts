import { expect, test } from 'vitest'
import { SECRET } from '../../test/core/kit.js'
import { memoryCacheStore } from './cache-store.js'
import { fencedCache } from './fenced-cache.js'
import { Position } from './position.js'
import { Session, type SessionContext } from './session.js'
import { TokenCodec } from './token/codec.js'
import { VirtualClock } from './virtual-clock.js'

/** `shop/eu/1:5` is the fifth write of that log. */
function at(...texts: readonly string[]): Position {
  return Position.of(
    texts.map(text => {
      const [lineage, offset] = text.split(':') as [string, string]
      return { lineage, offset: BigInt(offset) }
    }),
  )
}

class TestSession extends Session {
  readonly #context: SessionContext
  constructor(context: SessionContext, origin?: Session) {
    super(context, undefined, {}, origin)
    this.#context = context
  }
  fork(): TestSession {
    return new TestSession(this.#context, this)
  }
}

function bench(keptOf?: SessionContext['keptOf']) {
  const clock = new VirtualClock()
  const context: SessionContext = { codec: new TokenCodec({ secret: SECRET, clock }), clock, ...(keptOf && { keptOf }) }
  const store = memoryCacheStore()
  const cache = fencedCache(store, { clock })
  return {
    /** A session that has written up to there invalidates the key. */
    invalidate: async (...written: readonly string[]) => {
      const author = new TestSession(context)
      author.wrote(at(...written))
      expect(await cache.invalidate(author, 'k')).toBe(true)
    },
    /** Reads the value from a node that has applied so much, and tells whether the cache has it from then on. */
    fill: async (value: string, ...applied: readonly string[]) => {
      const load = async (session: TestSession) => {
        session.readFrom(at(...applied), 0)
        return value
      }
      await cache.get(new TestSession(context), 'k', load)
      return (await store.get('k'))?.includes(`"value":"${value}"`) === true
    },
  }
}

const [EU, US] = ['shop/eu/1', 'shop/us/1']

test('of two invalidations in different logs, none takes the place of the other: a fill must include both', async () => {
  const { invalidate, fill } = bench()
  await invalidate(`${EU}:5`)
  await invalidate(`${US}:7`)
  expect(await fill('without the first', `${EU}:4`, `${US}:7`)).toBe(false)
  expect(await fill('without the second', `${EU}:5`, `${US}:6`)).toBe(false)
  expect(await fill('with both', `${EU}:5`, `${US}:7`)).toBe(true)
})

test('an invalidation also keeps what a value had to include that it takes the place of', async () => {
  const { invalidate, fill } = bench()
  await invalidate(`${EU}:5`)
  expect(await fill('first', `${EU}:5`, `${US}:6`)).toBe(true)
  await invalidate(`${US}:7`)
  expect(await fill('without the first invalidation', `${EU}:4`, `${US}:7`)).toBe(false)
  expect(await fill('with both', `${EU}:5`, `${US}:7`)).toBe(true)
})

test('what is lost need not be included, once there is another invalidation', async () => {
  const { invalidate, fill } = bench(async position => position.without(at(`${EU}:5`)))
  await invalidate(`${EU}:5`)
  await invalidate(`${US}:7`)
  expect(await fill('as it is now', `${EU}:4`, `${US}:7`)).toBe(true)
})
