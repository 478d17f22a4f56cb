import type { Clock } from '../clock.js'
import { ConfigurationError } from '../errors.js'
import type { Ladder } from '../ladder.js'
import type { LostWrites } from '../lost-write-error.js'
import type { Guarantee } from '../outcome.js'
import { PRESETS, type PresetName } from '../presets.js'
import type { SessionCacheLimits } from '../session-cache.js'
import type { WritePolicy } from '../write-policy.js'

/** What is configured of a database, whatever its engine. */
export interface DatabaseConfig {
  /**
   * Signs tokens; at least 16 bytes, the same in all processes. A list rotates: the first signs, all are accepted.
   * Default: a random one with a warning; refused when `NODE_ENV=production`.
   */
  readonly secret?: string | readonly string[] | undefined
  /** The region of this process; nodes of the same region are preferred. */
  readonly region?: string | undefined
  /** A whole strategy by one word: `ladder` and `writePolicy`, each of which may still be given. Default `two-level`. */
  readonly preset?: PresetName
  /** How reads are served. Default: a caught-up replica, a short wait, the primary within a bound. */
  readonly ladder?: Ladder
  /** When a write counts as done. Default: when the primary has committed it. */
  readonly writePolicy?: WritePolicy
  /**
   * A session's write turns out to be lost, or possibly lost, in a failover. `reissue`: the read is served by the primary, its
   * outcome and an event say so, and the next token goes on from there. `error`: the read rejects with `LostWriteError`,
   * once. Default `reissue`.
   */
  readonly lostWrites?: LostWrites
  /** Bounds of what `sessionCache` rungs serve from. */
  readonly sessionCache?: SessionCacheLimits
  /** What sessions ask for unless they say otherwise. Default `read-your-writes`. */
  readonly guarantee?: Guarantee
  /** The token store is waited for at most this long. Default 100. */
  readonly storeTimeoutMs?: number
  /** Between polls of a node while nobody waits. Default 500. */
  readonly pollIntervalMs?: number
  /** A node that does not answer a poll for this long is not used until it answers again. Default 1 000. */
  readonly pollTimeoutMs?: number
  /** At most this many reads wait for replication at once. Default 100 000. */
  readonly maxWaiting?: number
  /** Where warnings for an operator go, besides the `tidemark:warning` event. Default: `process.emitWarning`. */
  readonly onWarning?: (message: string) => void
  readonly clock?: Clock
}

export const DATABASE_DEFAULTS = Object.freeze({
  storeTimeoutMs: 100,
  pollIntervalMs: 500,
  pollTimeoutMs: 1_000,
  maxWaiting: 100_000,
})

/** The strategy that a configuration chooses. Throws {@link ConfigurationError}. */
export function strategyOf({ preset = 'two-level', ladder, writePolicy, lostWrites }: DatabaseConfig) {
  if (!Object.hasOwn(PRESETS, preset)) {
    throw new ConfigurationError(`preset must be one of ${Object.keys(PRESETS).join(', ')}, not ${JSON.stringify(preset)}`)
  }
  if (lostWrites !== undefined && lostWrites !== 'error' && lostWrites !== 'reissue') {
    throw new ConfigurationError(`lostWrites must be 'error' or 'reissue', not ${JSON.stringify(lostWrites)}`)
  }
  const chosen = PRESETS[preset]
  return { ladder: ladder ?? chosen.ladder, writePolicy: writePolicy ?? chosen.writePolicy }
}

/** Throws {@link ConfigurationError} when a time or a bound cannot work. */
export function checkBounds<C extends DatabaseConfig>(config: C, names: readonly (keyof C & string)[] = []): void {
  for (const name of [...BOUNDS, ...names] as readonly (keyof C & string)[]) {
    const value = config[name]
    if (value !== undefined && !(Number.isFinite(value) && Number(value) > 0)) {
      throw new ConfigurationError(`${name} must be a number greater than 0, not ${value}`)
    }
  }
}

const BOUNDS = ['pollIntervalMs', 'pollTimeoutMs', 'storeTimeoutMs', 'maxWaiting'] as const
