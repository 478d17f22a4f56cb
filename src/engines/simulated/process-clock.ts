import type { Clock, Timer } from '../../core/clock.js'
import type { Random } from './random.js'

export interface ProcessClockOptions {
  /** How far this host's wall clock is ahead of the true time. Default 0. */
  readonly wallOffsetMs?: number
  /** How fast this process's clocks run against true time: 1.0001 gains 0.1 ms a second. Default 1. */
  readonly rate?: number
}

const ROUNDING_MS = 1e-6

/** What a process clock needs of the world. */
interface World {
  now(): number
  at(time: number, run: () => void): Timer
}

/** True wall time at the beginning of every world: 14 November 2023. */
const EPOCH_MS = 1_700_000_000_000

/**
 * The clock of one process. Its monotonic clock drifts but never goes back; its wall clock drifts with it and may jump.
 * Timers run by the monotonic clock: never early by it; late when its rate has risen meanwhile.
 */
export class ProcessClock implements Clock {
  readonly #world: World
  readonly #random: Random
  #rate: number
  #wallOffsetMs: number
  /** The true time and the own time from which the rate counts. */
  #since = 0
  #base = 0
  /** What the monotonic clock showed at the beginning of the world. */
  readonly #zero: number
  /** The latest that was shown: rounding must not take it back. */
  #shown = 0

  constructor(world: World, random: Random, { wallOffsetMs = 0, rate = 1 }: ProcessClockOptions) {
    this.#world = world
    this.#random = random
    this.#wallOffsetMs = wallOffsetMs
    this.#rate = checkedRate(rate)
    this.#since = world.now()
    // Two processes' monotonic clocks have nothing to do with each other.
    this.#base = Math.floor(random.fork('zero').next() * 1e6)
    this.#zero = this.#base - this.#since
  }

  now(): number {
    const now = this.#base + (this.#world.now() - this.#since) * this.#rate
    if (now > this.#shown) this.#shown = now
    return this.#shown
  }

  wallNow(): number {
    return Math.floor(EPOCH_MS + this.#wallOffsetMs + this.now() - this.#zero)
  }

  setTimer(callback: () => void, delayMs: number): Timer {
    const timer = new ProcessTimer(this.now() + Math.max(0, delayMs), callback)
    this.#arm(timer)
    return timer
  }

  random(): number {
    return this.#random.next()
  }

  /** The host's wall clock is set forward, or back if negative. The monotonic clock does not notice. */
  jumpWall(ms: number): void {
    this.#wallOffsetMs += ms
  }

  /** From now on this process's time runs at another rate. */
  setRate(rate: number): void {
    this.#base = this.now()
    this.#since = this.#world.now()
    this.#rate = checkedRate(rate)
  }

  #arm(timer: ProcessTimer): void {
    timer.event = this.#world.at(this.#since + (timer.due - this.#base) / this.#rate, () => this.#expire(timer))
  }

  #expire(timer: ProcessTimer): void {
    if (timer.due - this.now() > ROUNDING_MS) {
      // The rate has fallen meanwhile: not yet.
      this.#arm(timer)
      return
    }
    this.#shown = Math.max(this.#shown, timer.due)
    timer.callback()
  }
}

class ProcessTimer implements Timer {
  /** On the clock of its process. */
  readonly due: number
  readonly callback: () => void
  /** When that is, by the rate as it was known last. */
  event: Timer | undefined

  constructor(due: number, callback: () => void) {
    this.due = due
    this.callback = callback
  }

  cancel(): void {
    this.event?.cancel()
  }
}

function checkedRate(rate: number): number {
  if (!(rate > 0.1 && rate < 10)) throw new RangeError(`a clock's rate is between 0.1 and 10, not ${rate}`)
  return rate
}
