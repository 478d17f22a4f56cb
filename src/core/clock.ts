// The global of that name is looked up through a getter each time.
import { performance } from 'node:perf_hooks'

/**
 * Where time, timers and randomness enter the core: nowhere else. A simulator replaces this one object and runs the
 * real code on virtual time.
 */
export interface Clock {
  /** Milliseconds on a monotonic clock of this process; its zero means nothing. All waits and staleness windows use it. */
  now(): number
  /** Milliseconds since 1970 as this host believes. Only for the issue time inside tokens, never for freshness. */
  wallNow(): number
  /** Like the global `setTimeout`; the timer does not keep the process alive unless `keepAlive` is true. */
  setTimer(callback: () => void, delayMs: number, options?: { readonly keepAlive?: boolean }): Timer
  /** A uniformly distributed number in [0, 1). */
  random(): number
}

export interface Timer {
  /** Idempotent; after it the callback is not called. */
  cancel(): void
}

/** The real clock of this process. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wallNow: () => Date.now(),
  setTimer(callback, delayMs, options) {
    const handle = setTimeout(callback, delayMs)
    if (options?.keepAlive !== true) handle.unref()
    return { cancel: () => clearTimeout(handle) }
  },
  random: () => Math.random(),
}
