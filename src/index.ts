export { type CacheStore, type MemoryCacheStoreOptions, memoryCacheStore } from './core/cache-store.js'
export { type Clock, systemClock, type Timer } from './core/clock.js'
export { ConfigurationError, MissingPeerError, TidemarkError } from './core/errors.js'
export type { Events, RerouteReason } from './core/events.js'
export type { Fence } from './core/fence.js'
export type { History } from './core/history.js'
export {
  DEFAULT_LADDER,
  type Ladder,
  NotReadyError,
  notReady,
  primary,
  type Refusal,
  type Rung,
  replica,
  type Situation,
  type Step,
  stale,
  type Wait,
  wait,
} from './core/ladder.js'
export type { Guarantee, Outcome } from './core/outcome.js'
export { type Ordering, Position, type PositionEntry } from './core/position.js'
export { NotServedError } from './core/router.js'
export { Session, type SessionOptions } from './core/session.js'
export { type ConsistencyToken, TokenCodec, type TokenCodecOptions } from './core/token/codec.js'
export { readLayout, TokenRejectedError, type TokenRejection } from './core/token/layout.js'
export { type MemoryTokenStoreOptions, memoryTokenStore, type TokenStore } from './core/token-store.js'
