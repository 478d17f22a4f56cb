import { type CacheStore, wholeTtl } from '../../core/cache-store.js'
import { checkNumber } from '../../core/check-number.js'
import { DEFAULT_TIMEOUT_MS, type RedisClientOptions, script, scriptRunner } from './redis-client.js'

export interface RedisCacheStoreOptions extends RedisClientOptions {
  /** What the names of all keys begin with. Default `tidemark:cache:`. */
  readonly prefix?: string
}

/** KEYS: key. */
const GET = script(`return redis.call('GET', KEYS[1])`)

/** KEYS: key. ARGV: whether something is expected (1, 0), what, the value, milliseconds. In Lua, nothing there is \`false\`. */
const COMPARE_AND_SET = script(`
local expected = ARGV[1] == '1' and ARGV[2]
if redis.call('GET', KEYS[1]) ~= expected then return 0 end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
return 1
`)

/**
 * A cache store in Redis (or a Redis Cluster, over which its keys are spread), shared by all processes that use it. Its size is bounded by
 * the values' time to live and by Redis' own `maxmemory`.
 *
 * Throws `ConfigurationError` when `timeoutMs` cannot work. Methods reject with the client's error, or after `timeoutMs`.
 */
export function redisCacheStore(options: RedisCacheStoreOptions): CacheStore {
  const { client, prefix = 'tidemark:cache:', timeoutMs = DEFAULT_TIMEOUT_MS } = options
  checkNumber('redisCacheStore: timeoutMs', timeoutMs, { min: 1 })
  const run = scriptRunner(client, timeoutMs)
  return {
    async get(key) {
      const value = await run(GET, [prefix + key], [])
      return typeof value === 'string' ? value : undefined
    },
    async compareAndSet(key, expected, value, ttlMs) {
      const ttl = wholeTtl(ttlMs)
      const args = [expected === undefined ? '0' : '1', expected ?? '', value, String(ttl)]
      return Number(await run(COMPARE_AND_SET, [prefix + key], args)) === 1
    },
  }
}
