/**
 * Time and chance of one simulated world. Everything that happens is an event at a virtual time; between two events all
 * promises go on as far as they can. One seed gives one world: no wall clock, no real timer, no randomness from elsewhere.
 *
 * Promises settle in microtasks, and only the host knows when the last of those has run. Node runs the immediates of one
 * turn one after another with all microtasks of each before the next, so a batch of them costs a tenth of a microsecond an
 * event where a turn each costs ten times that.
 */
import type { Timer } from '../../core/clock.js'
import { EventQueue, SimulatedEvent } from './event-queue.js'
import { ProcessClock, type ProcessClockOptions } from './process-clock.js'
import { Random } from './random.js'

export interface RunOptions {
  /** Virtual milliseconds since the beginning; events at that time still happen, and then it is that time. */
  readonly until?: number
  /** Asked before every event. */
  readonly isDone?: () => boolean
  /** A world that goes on for ever is a defect: throws after so many events. Default 50 million. */
  readonly maxEvents?: number
}

const BATCH = 64

export class Simulation {
  readonly seed: number
  readonly #random: Random
  readonly #queue = new EventQueue()
  #now = 0
  #order = 0
  #events = 0
  #digest = 0x811c9dc5
  readonly #bits = new Float64Array(1)
  readonly #words = new Uint32Array(this.#bits.buffer)

  constructor(seed: number) {
    if (!Number.isSafeInteger(seed)) throw new RangeError(`a seed is a whole number, not ${seed}`)
    this.seed = seed
    this.#random = new Random(seed ^ Math.floor(seed / 2 ** 32)).fork('simulation')
  }

  /** Virtual milliseconds since the beginning. */
  now(): number {
    return this.#now
  }

  /** A generator for one consumer: the same name gives the same numbers, whoever else draws. */
  random(name: string): Random {
    return this.#random.fork(name)
  }

  /** How many events have happened. */
  get events(): number {
    return this.#events
  }

  /** A hash of when everything happened and of all that was {@link note}d: two runs of a seed that differ anywhere differ here. */
  get digest(): string {
    return (this.#digest >>> 0).toString(16).padStart(8, '0')
  }

  /** Enters something into the digest. */
  note(text: string): void {
    for (let i = 0; i < text.length; i++) this.#digest = Math.imul(this.#digest ^ text.charCodeAt(i), 0x01000193)
  }

  /** Runs `run` after `ms` virtual milliseconds (0: after what is scheduled for now). */
  after(ms: number, run: () => void): Timer {
    return this.at(this.#now + Math.max(0, ms), run)
  }

  /** Runs `run` at a virtual time, or now if that has passed. */
  at(time: number, run: () => void): Timer {
    const event = new SimulatedEvent(Math.max(time, this.#now), this.#order++, run)
    if (!Number.isFinite(event.at)) throw new RangeError(`cannot wait until ${time}`)
    this.#queue.push(event)
    return event
  }

  /** Resolves after `ms` virtual milliseconds. */
  sleep(ms: number): Promise<void> {
    return new Promise(resolve => void this.after(ms, resolve))
  }

  /** The clock of one process: what its code sees of time, and its own random numbers. */
  clock(name: string, options: ProcessClockOptions = {}): ProcessClock {
    return new ProcessClock(this, this.random(`clock of ${name}`), options)
  }

  /** Lets time pass: until it is `until`, `isDone`, or nothing is left to happen. One run at a time. */
  async run({ until, isDone, maxEvents = 50_000_000 }: RunOptions = {}): Promise<void> {
    let left = maxEvents
    let failure: { readonly error: unknown } | undefined
    let over = false
    const step = () => {
      if (over) return
      try {
        const next = isDone?.() ? undefined : this.#next(until)
        if (next === undefined) over = true
        else if (left-- <= 0) throw new Error(`more than ${maxEvents} events: this world does not come to an end`)
        else this.#happen(next)
      } catch (error) {
        over = true
        failure = { error }
      }
    }
    // What was begun before the run goes on first.
    await new Promise(resolve => setImmediate(resolve))
    while (!over) {
      for (let i = 1; i < BATCH; i++) setImmediate(step)
      await new Promise<void>(resolve => setImmediate(() => resolve(step())))
    }
    if (failure !== undefined) throw failure.error
    if (until !== undefined && !isDone?.()) this.#now = Math.max(this.#now, until)
  }

  #next(until: number | undefined): SimulatedEvent | undefined {
    for (;;) {
      const next = this.#queue.peek()
      if (next === undefined || (until !== undefined && next.at > until)) return undefined
      this.#queue.pop()
      if (next.run !== undefined) return next
    }
  }

  #happen(event: SimulatedEvent): void {
    this.#now = event.at
    this.#events++
    this.#bits[0] = event.at
    this.#digest = Math.imul(this.#digest ^ this.#words[0]!, 0x01000193)
    this.#digest = Math.imul(this.#digest ^ this.#words[1]! ^ event.order, 0x01000193)
    event.run!()
  }
}
