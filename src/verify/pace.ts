import { setTimeout as sleep } from 'node:timers/promises'

/** Says when the next round may begin, for all paths together: at most so many a second, until the time is up. */
export class Pace {
  readonly #intervalMs: number
  readonly #endsAt: number
  readonly #signal: AbortSignal
  #nextAt = performance.now()

  constructor(perSecond: number, durationMs: number, signal: AbortSignal) {
    this.#intervalMs = 1_000 / perSecond
    this.#endsAt = performance.now() + durationMs
    this.#signal = signal
  }

  /** Resolves when a round may begin; to false when none may any more. Rejects with the signal's reason when it aborts. */
  async turn(): Promise<boolean> {
    this.#signal.throwIfAborted()
    const now = performance.now()
    // What was not used is not made up for: that would be a burst.
    const at = Math.max(this.#nextAt, now - this.#intervalMs)
    if (at >= this.#endsAt) return false
    this.#nextAt = at + this.#intervalMs
    if (at > now) await sleep(at - now, undefined, { signal: this.#signal })
    return true
  }
}
