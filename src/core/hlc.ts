/**
 * Hybrid logical clocks (Kulkarni, Demirbas, Madappa, Avva, Leone: "Logical Physical Clocks", OPODIS 2014), for logs that several
 * nodes write at the same time, each its own: their entries are stamped with (l, c), where l is the greatest wall clock that
 * the node has heard of, in milliseconds, and c counts what happened within that millisecond.
 *
 * **What holds.** If event e happened before event f, also by way of messages, e's stamp is less than f's (theorem 1 of the
 * paper). So the stamps of one node only grow, and one who writes after having read writes a greater stamp. l is never behind
 * the node's own wall clock, and as far as hosts' clocks agree, at most as far ahead of it (theorem 2 and corollary 1).
 *
 * **Packed.** A stamp is an unsigned 64-bit integer, l in the upper 48 bits and c in the lower 16, so stamps compare as numbers and
 * fit a position's offset without loss. 48 bits of milliseconds end in the year 10889; 16 bits are 65 536 events in one
 * millisecond, beyond which {@link CounterOverflowError} is thrown rather than a stamp twice or out of order.
 *
 * **Clocks that are wrong.** A stamp from a host whose clock is far ahead would drag everybody's along for good; so it is refused
 * ({@link ClockDriftError}) and changes nothing. A local clock that is set back stops l, not the stamps: c counts on.
 *
 * **Restarts.** Were the clock set back while the process was down, it would give stamps a second time. So a bound is stored
 * before any stamp beyond it is given out, and the next life begins above the bound. The bound also covers what was received: an
 * event of the next life comes after it, too.
 */
import { checkNumber } from './check-number.js'
import type { Clock } from './clock.js'
import { ConfigurationError, TidemarkError } from './errors.js'

const COUNTER_BITS = 16n
const MAX_COUNTER = 0xffff
/** The last of 48 bits is left out: the greatest 64-bit number means "beyond every position". */
const MAX_MS = 2 ** 48 - 2
const MAX_STAMP = 0xffff_ffff_ffff_ffffn

export interface HlcOptions {
  /** Its `wallNow` is the physical clock. */
  readonly clock: Clock
  /**
   * Stores the bound so that it survives the process, and only then returns; synchronous, since a stamp must not be out before
   * its bound is stored, and writing is not to become a wait at every event. Called about once in `reserveMs` while there are
   * events. When it throws, so does the event, and no stamp is given out.
   */
  readonly persist: (bound: bigint) => void
  /** What was stored last; without it this is taken for the first life ever. */
  readonly bound?: bigint | undefined
  /**
   * A stamp that is further ahead of the local wall clock is refused. Default 500: hosts that keep their time by NTP agree within
   * some tens of milliseconds, also between continents, so 500 ms is a clock that is broken rather than slow; and it is as long
   * as one wrong clock can make the others' stamps run ahead. CockroachDB has the same default for the same reason.
   */
  readonly maxDriftMs?: number | undefined
  /**
   * How far ahead the bound is stored. A next life that begins at once has stamps ahead of its wall clock by this, so it must be
   * less than `maxDriftMs`, or others refuse them. Default: half of `maxDriftMs`.
   */
  readonly reserveMs?: number | undefined
}

/** A stamp was received that is further ahead of the local wall clock than allowed: one of the two clocks is wrong. */
export class ClockDriftError extends TidemarkError {
  declare readonly code: 'TIDEMARK_CLOCK_DRIFT'
  readonly stamp: bigint
  readonly aheadMs: number
  readonly maxDriftMs: number
  constructor(stamp: bigint, aheadMs: number, maxDriftMs: number) {
    super(
      'TIDEMARK_CLOCK_DRIFT',
      `a stamp is ${aheadMs} ms ahead of this host's clock, and at most ${maxDriftMs} ms are allowed; it was refused. Set the clocks of both hosts (NTP)`,
    )
    this.stamp = stamp
    this.aheadMs = aheadMs
    this.maxDriftMs = maxDriftMs
  }
}

/** No stamp is left in this millisecond. Try again when the wall clock has passed `untilMs`; nothing has changed. */
export class CounterOverflowError extends TidemarkError {
  declare readonly code: 'TIDEMARK_HLC_OVERFLOW'
  /** Milliseconds since 1970. */
  readonly untilMs: number
  constructor(untilMs: number) {
    super(
      'TIDEMARK_HLC_OVERFLOW',
      `all ${MAX_COUNTER + 1} stamps of the millisecond ${untilMs} are used; there are new ones when this host's clock has passed it. If that is long, the clock was set back`,
    )
    this.untilMs = untilMs
  }
}

/** The parts of a stamp: milliseconds since 1970, and the counter within them. */
export function unpackStamp(stamp: bigint): { readonly ms: number; readonly counter: number } {
  return { ms: Number(stamp >> COUNTER_BITS), counter: Number(stamp & BigInt(MAX_COUNTER)) }
}

export function packStamp(ms: number, counter: number): bigint {
  if (!Number.isInteger(ms) || ms < 0 || ms > MAX_MS) throw new RangeError(`${ms} ms do not fit in 48 bits`)
  if (!Number.isInteger(counter) || counter < 0 || counter > MAX_COUNTER) {
    throw new RangeError(`the counter ${counter} does not fit in 16 bits`)
  }
  return (BigInt(ms) << COUNTER_BITS) | BigInt(counter)
}

export class HybridLogicalClock {
  readonly #clock: Clock
  readonly #persist: (bound: bigint) => void
  readonly #maxDriftMs: number
  readonly #reserveMs: number
  /** The paper's l and c: of the last event of this life, or the bound of the life before. */
  #ms = 0
  #counter = 0
  /** Never less than the last stamp. */
  #bound: bigint

  /** Throws `ConfigurationError` when the options cannot work. */
  constructor({ clock, persist, bound = 0n, maxDriftMs = 500, reserveMs = maxDriftMs / 2 }: HlcOptions) {
    checkNumber('maxDriftMs', maxDriftMs, { min: 2 })
    checkNumber('reserveMs', reserveMs, { min: 1 })
    if (reserveMs >= maxDriftMs) {
      throw new ConfigurationError(
        `reserveMs is ${reserveMs} and maxDriftMs ${maxDriftMs}; reserveMs must be less, or others refuse the first stamps after a restart`,
      )
    }
    if (bound < 0n || bound >= MAX_STAMP) throw new ConfigurationError(`the stored bound ${bound} is not one of a stamp`)
    this.#clock = clock
    this.#persist = persist
    this.#maxDriftMs = maxDriftMs
    this.#reserveMs = Math.floor(reserveMs)
    this.#bound = bound
    const { ms, counter } = unpackStamp(bound)
    this.#ms = ms
    this.#counter = counter
  }

  /** The last stamp that this clock has given out or, in a new life, a bound of those before. */
  get last(): bigint {
    return packStamp(this.#ms, this.#counter)
  }

  /**
   * The stamp of a local event, or of one that sends a message. Throws {@link CounterOverflowError}, or what `persist` throws.
   */
  now(): bigint {
    const wall = this.#wallMs()
    return wall > this.#ms ? this.#advance(wall, 0) : this.#advance(this.#ms, this.#counter + 1)
  }

  /**
   * The stamp of the event that receives a message stamped `stamp`: greater than both. Throws {@link ClockDriftError},
   * {@link CounterOverflowError}, `RangeError` when it is no stamp, or what `persist` throws; nothing has changed then.
   */
  receive(stamp: bigint): bigint {
    if (stamp < 0n || stamp > MAX_STAMP) throw new RangeError(`${stamp} is not an unsigned 64-bit stamp`)
    const { ms, counter } = unpackStamp(stamp)
    const wall = this.#wallMs()
    if (ms - wall > this.#maxDriftMs) throw new ClockDriftError(stamp, ms - wall, this.#maxDriftMs)
    if (wall > this.#ms && wall > ms) return this.#advance(wall, 0)
    if (ms > this.#ms) return this.#advance(ms, counter + 1)
    if (ms < this.#ms) return this.#advance(this.#ms, this.#counter + 1)
    return this.#advance(ms, Math.max(this.#counter, counter) + 1)
  }

  #wallMs(): number {
    return Math.floor(this.#clock.wallNow())
  }

  /** The only place where anything changes, and nothing does before all that can fail has not. */
  #advance(ms: number, counter: number): bigint {
    if (counter > MAX_COUNTER) throw new CounterOverflowError(ms)
    const stamp = packStamp(ms, counter)
    if (stamp > this.#bound) {
      const bound = packStamp(ms + this.#reserveMs, 0)
      this.#persist(bound)
      this.#bound = bound
    }
    this.#ms = ms
    this.#counter = counter
    return stamp
  }
}
