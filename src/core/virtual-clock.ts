import type { Clock, Timer } from './clock.js'

interface PendingTimer {
  readonly at: number
  readonly callback: () => void
}

/**
 * A clock whose time moves only when {@link advance} says so; timers fire in the order of their times, then of their
 * making. Random numbers follow from the seed. For the simulator and for tests.
 *
 * @internal
 */
export class VirtualClock implements Clock {
  /** What `wallNow` is ahead of `now`: hosts may disagree about it. */
  wallOffsetMs = 1_700_000_000_000
  #now = 0
  #randomState: number
  /** In the order in which they will fire. */
  readonly #timers: PendingTimer[] = []

  constructor(seed = 1) {
    this.#randomState = seed
  }

  now(): number {
    return this.#now
  }

  wallNow(): number {
    return Math.floor(this.wallOffsetMs + this.#now)
  }

  setTimer(callback: () => void, delayMs: number): Timer {
    const timer = { at: this.#now + Math.max(0, delayMs), callback }
    this.#timers.splice(this.#timers.findLastIndex(other => other.at <= timer.at) + 1, 0, timer)
    return {
      cancel: () => {
        const index = this.#timers.indexOf(timer)
        if (index >= 0) this.#timers.splice(index, 1)
      },
    }
  }

  /** Mulberry32: small, fast, and good enough to spread things. */
  random(): number {
    this.#randomState = (this.#randomState + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#randomState ^ (this.#randomState >>> 15), this.#randomState | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  /** Timers that have neither fired nor been cancelled. */
  get pendingTimers(): number {
    return this.#timers.length
  }

  /** Lets `ms` pass. After each timer, and at the end, everything that can go on without time passing has gone on. */
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms
    await settled()
    for (let next = this.#timers[0]; next !== undefined && next.at <= until; next = this.#timers[0]) {
      this.#timers.shift()
      this.#now = next.at
      next.callback()
      await settled()
    }
    this.#now = until
  }
}

/** A turn of the event loop begins when no promise has anything left to do. */
function settled(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}
