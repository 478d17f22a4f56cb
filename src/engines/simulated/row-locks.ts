import type { Timer } from '../../core/clock.js'

interface Lock {
  owner: object
  readonly waiting: Waiting[]
}

interface Waiting {
  readonly owner: object
  readonly granted: () => void
  readonly timer: Timer
}

/**
 * Row locks of one server: who writes a key keeps others from writing it until its transaction has ended. A wait that takes
 * too long fails, which also ends every deadlock.
 */
export class RowLocks {
  readonly #locks = new Map<string, Lock>()
  readonly #after: (ms: number, run: () => void) => Timer
  readonly #timeoutMs: number

  constructor(after: (ms: number, run: () => void) => Timer, timeoutMs: number) {
    this.#after = after
    this.#timeoutMs = timeoutMs
  }

  /** Calls back with whether `owner` has the lock now: at once if nobody else has it. */
  acquire(owner: object, key: string, done: (acquired: boolean) => void): void {
    const lock = this.#locks.get(key)
    if (lock === undefined) this.#locks.set(key, { owner, waiting: [] })
    if (lock === undefined || lock.owner === owner) {
      done(true)
      return
    }
    const waiting: Waiting = {
      owner,
      granted: () => done(true),
      timer: this.#after(this.#timeoutMs, () => {
        lock.waiting.splice(lock.waiting.indexOf(waiting), 1)
        done(false)
      }),
    }
    lock.waiting.push(waiting)
  }

  /** Gives up everything that `owner` has or waits for; the next in line go on. */
  release(owner: object): void {
    for (const [key, lock] of this.#locks) {
      const at = lock.waiting.findIndex(waiting => waiting.owner === owner)
      if (at >= 0) lock.waiting.splice(at, 1)[0]!.timer.cancel()
      if (lock.owner === owner) this.#pass(key, lock)
    }
  }

  /** The server is gone, and with it everybody who waits. */
  clear(): void {
    for (const { waiting } of this.#locks.values()) for (const { timer } of waiting) timer.cancel()
    this.#locks.clear()
  }

  #pass(key: string, lock: Lock): void {
    const next = lock.waiting.shift()
    if (next === undefined) {
      this.#locks.delete(key)
      return
    }
    lock.owner = next.owner
    next.timer.cancel()
    this.#after(0, next.granted)
  }
}
