export { type RedisCacheStoreOptions, redisCacheStore } from './redis-cache-store.js'
export type { IoredisClient, NodeRedisClient, RedisClient, RedisClientOptions } from './redis-client.js'
export { type RedisTokenStoreOptions, redisTokenStore } from './redis-token-store.js'
