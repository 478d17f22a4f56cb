import { Redis } from 'ioredis'
import { createClient } from 'redis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ConfigurationError } from '../../src/core/errors.js'
import { Position } from '../../src/core/position.js'
import { type RedisClient, redisCacheStore, redisTokenStore } from '../../src/stores/redis/index.js'
import { type RedisServer, redisMissing, startRedis } from '../support/redis-server.js'
import { describeCacheStore } from './cache-store-contract.js'
import { describeTokenStore } from './token-store-contract.js'

const A1 = Position.at('a', 1n)
const A9 = Position.at('a', 9n)

if (redisMissing !== undefined) console.warn(`test/stores/redis-stores.test.ts: ${redisMissing}`)

interface Connected {
  readonly client: RedisClient
  close(): void
}

const CLIENTS: Record<string, (url: string) => Promise<Connected>> = {
  async redis(url) {
    const client = createClient({ url })
    client.on('error', () => {})
    await client.connect()
    return { client, close: () => client.destroy() }
  },
  async ioredis(url) {
    const client = new Redis(url)
    client.on('error', () => {})
    return { client, close: () => client.disconnect() }
  },
}

test.each(['', '{', 'a}b'])('the prefix %j is refused', prefix => {
  const client = { sendCommand: async () => undefined }
  expect(() => redisTokenStore({ client, prefix })).toThrow(ConfigurationError)
})

describe.skipIf(redisMissing !== undefined)(`on a real server${redisMissing === undefined ? '' : ` (${redisMissing})`}`, () => {
  const opened: { close(): void | Promise<void> }[] = []
  const keep = <T extends { close(): void | Promise<void> }>(each: T): T => {
    opened.push(each)
    return each
  }
  let server: RedisServer
  /** Speaks the protocol of Redis Cluster: refuses a script whose keys are not all in one slot. */
  let clusterServer: RedisServer
  let admin: Redis
  let prefixes = 0
  const newPrefix = () => `test ${prefixes++}:`

  beforeAll(async () => {
    server = keep(await startRedis())
    clusterServer = keep(await startRedis('--cluster-enabled', 'yes'))
    admin = new Redis(server.url)
    keep({ close: () => admin.disconnect() })
    const clusterAdmin = new Redis(clusterServer.url)
    keep({ close: () => clusterAdmin.disconnect() })
    await clusterAdmin.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
    while (!String(await clusterAdmin.call('CLUSTER', 'INFO')).includes('cluster_state:ok')) await clusterAdmin.ping()
  })
  afterAll(async () => {
    for (const each of opened.reverse()) await each.close()
  })

  for (const [name, connect] of Object.entries(CLIENTS)) {
    const unreachable = async () => {
      const gone = keep(await startRedis())
      const { client } = keep(await connect(gone.url))
      await gone.stop()
      return { client, timeoutMs: 200 }
    }
    for (const where of ['one server', 'a cluster']) {
      const open = async () => keep(await connect(where === 'one server' ? server.url : clusterServer.url))
      describeTokenStore(`redisTokenStore, ${name}, ${where}`, {
        async open(options) {
          const prefix = newPrefix()
          const [one, two] = [await open(), await open()]
          return [redisTokenStore({ ...one, prefix, ...options }), redisTokenStore({ ...two, prefix, ...options })]
        },
        openBroken: async () => redisTokenStore(await unreachable()),
      })
      describeCacheStore(`redisCacheStore, ${name}, ${where}`, {
        async open() {
          const prefix = newPrefix()
          return [redisCacheStore({ ...(await open()), prefix }), redisCacheStore({ ...(await open()), prefix })]
        },
        openBroken: async () => redisCacheStore(await unreachable()),
      })
    }

    test(`${name}: a script that the server has forgotten is sent again`, async () => {
      const store = redisTokenStore({ ...keep(await connect(server.url)), prefix: newPrefix() })
      await store.raise('ann', A1)
      await admin.script('FLUSH')
      await store.raise('ann', A9)
      await admin.script('FLUSH')
      expect(await store.get('ann')).toEqual(A9)
    })

    test(`${name}: what a server wrote before it came back is unknown, for it may have written more`, async () => {
      const own = keep(await startRedis('--appendonly', 'yes', '--appendfsync', 'always'))
      const before = keep(await connect(own.url))
      const store = redisTokenStore(before)
      await store.raise('ann', A9)
      await own.stop()
      await own.restart()
      const after = keep(await connect(own.url))
      const again = redisTokenStore(after)
      const look = new Redis(own.url)
      keep({ close: () => look.disconnect() })
      // Control: it has come back with its data.
      expect(await look.keys('*user:*')).toHaveLength(1)
      expect(await again.get('ann')).toBeUndefined()
      await again.raise('ann', Position.at('a', 10n))
      expect(await again.get('ann')).toEqual(Position.at('a', 10n))
    })
  }

  test('ioredis: a key prefix of the client’s own is no harm', async () => {
    const client = new Redis(server.url, { keyPrefix: 'app:' })
    keep({ close: () => client.disconnect() })
    const store = redisTokenStore({ client, prefix: newPrefix(), retainMs: 0 })
    await store.raise('ann', A1)
    expect(await store.get('ann')).toEqual(A1)
    await store.expire?.(A1)
    expect(await store.get('ann')).toBeUndefined()
  })

  test('positions never get a time to live, and no key has a user’s id', async () => {
    const prefix = newPrefix()
    const store = redisTokenStore({ client: admin, prefix, retainMs: 1 })
    await store.raise('ann@example.com', A1)
    const keys = await admin.keys(`{${prefix}}*`)
    expect(keys).toHaveLength(2)
    expect(await Promise.all(keys.map(key => admin.ttl(key)))).toEqual([-1, -1])
    expect(keys.join()).not.toContain('ann')
  })

  test('what is forgotten leaves nothing behind', async () => {
    const prefix = newPrefix()
    const store = redisTokenStore({ client: admin, prefix, retainMs: 0 })
    for (const user of ['ann', 'bob', 'cid']) await store.raise(user, A1)
    await store.raise('ann', Position.zero, A1)
    await store.expire?.(A1)
    expect(await admin.keys(`{${prefix}}*`)).toEqual([])
  })
})
