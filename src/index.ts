export type { Verdict } from './core/ancestry.js'
export { type CacheStore, type MemoryCacheStoreOptions, memoryCacheStore } from './core/cache-store.js'
export { type Clock, systemClock, type Timer } from './core/clock.js'
export { ConfigurationError, MissingPeerError, TidemarkError } from './core/errors.js'
export type { CanaryResult, Events, RerouteReason } from './core/events.js'
export type { Fence } from './core/fence.js'
export {
  type CacheReadOptions,
  type FencedCache,
  type FencedCacheOptions,
  fencedCache,
} from './core/fenced-cache.js'
export type { History } from './core/history.js'
export {
  DEFAULT_LADDER,
  type Ladder,
  NotReadyError,
  notReady,
  type PinnedOptions,
  pinned,
  primary,
  type Refusal,
  type Rung,
  replica,
  type SessionCacheOptions,
  type Situation,
  type Step,
  sessionCache,
  stale,
  type Wait,
  wait,
} from './core/ladder.js'
export { LostWriteError, type LostWrites } from './core/lost-write-error.js'
export type { Guarantee, Outcome } from './core/outcome.js'
export { type Ordering, Position, type PositionEntry } from './core/position.js'
export { PRESETS, type Preset, type PresetName } from './core/presets.js'
export { type Quorum, type QuorumOptions, quorum } from './core/quorum.js'
export { NotServedError } from './core/router.js'
export { type LastWrite, Session, type SessionOptions } from './core/session.js'
export { type ConsistencyToken, TokenCodec, type TokenCodecOptions } from './core/token/codec.js'
export { readLayout, TokenRejectedError, type TokenRejection } from './core/token/layout.js'
export { type MemoryTokenStoreOptions, memoryTokenStore, type TokenStore } from './core/token-store.js'
export {
  type AcknowledgeOptions,
  appliedOn,
  COMMITTED,
  NotAppliedError,
  type WritePolicy,
} from './core/write-policy.js'
