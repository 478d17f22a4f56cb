/**
 * Remembers where the primary was when, on this router's own monotonic clock, so that "how far behind is this replica"
 * has an answer in milliseconds without trusting any other machine's clock.
 *
 * A pair (t, offset) says: at some moment at or after t the primary's log ended at `offset`. A replica that has applied
 * `offset` therefore shows everything the primary showed at t.
 *
 * Bounded: when full, the older half is thinned to every second pair, so old history is kept ever more coarsely.
 */
const CAPACITY = 512
const MIN_SPACING_MS = 2

/** How far a node had applied the log, by a question sent at `at`. */
export interface Applied {
  readonly at: number
  readonly applied: bigint
}

export class PrimaryLog {
  #times: number[] = []
  #offsets: bigint[] = []

  clear(): void {
    this.#times = []
    this.#offsets = []
  }

  /** `at` is when the question was *sent*: rounding the age of a position up keeps the window an upper bound. */
  record(at: number, offset: bigint): void {
    const last = this.#times.length - 1
    if (last >= 0) {
      if (at < this.#times[last]!) return
      if (offset <= this.#offsets[last]!) {
        // The primary has not moved: the same offset is simply fresher now.
        if (offset === this.#offsets[last]!) this.#refresh(last, at)
        return
      }
      if (at - this.#times[last]! < MIN_SPACING_MS) return
    }
    this.#times.push(at)
    this.#offsets.push(offset)
    if (this.#times.length > CAPACITY) this.#thin()
  }

  /** When the primary was last known to be at `offset` or before it, or `undefined` when that is further back than remembered. */
  lastTimeAtOrBefore(offset: bigint): number | undefined {
    const index = this.#upperBound(offset) - 1
    return index < 0 ? undefined : this.#times[index]
  }

  /** When the primary was first known to have passed `offset`, or `undefined` when it is not known to have. */
  firstTimeAfter(offset: bigint): number | undefined {
    return this.#times[this.#upperBound(offset)]
  }

  /**
   * About how long a write takes to be applied where two questions, one after the other, have found a node: a lower bound by what
   * it has passed since, or by what it has still not got. `lagMs`: what was thought before.
   */
  lagMs(before: Applied, now: Applied, lagMs: number): number {
    const waitingSince = this.firstTimeAfter(now.applied)
    const behindMs = waitingSince === undefined ? 0 : Math.max(0, now.at - waitingSince)
    if (now.applied <= before.applied) return Math.max(lagMs, behindMs)
    // It passed what the primary had at `passedAt` only after the previous question.
    const passedAt = this.firstTimeAfter(now.applied - 1n) ?? this.lastTimeAtOrBefore(now.applied)
    return Math.max(behindMs, passedAt === undefined ? 0 : before.at - passedAt)
  }

  /** The newest known offset of the primary. */
  get newest(): bigint | undefined {
    return this.#offsets[this.#offsets.length - 1]
  }

  #refresh(last: number, at: number): void {
    // Keep the first time of this offset when it is the only proof of when the primary passed the one before.
    if (last > 0 && this.#offsets[last - 1] === this.#offsets[last]) this.#times[last] = at
    else {
      this.#times.push(at)
      this.#offsets.push(this.#offsets[last]!)
      if (this.#times.length > CAPACITY) this.#thin()
    }
  }

  /** Index of the first pair whose offset is greater. */
  #upperBound(offset: bigint): number {
    let low = 0
    let high = this.#offsets.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#offsets[middle]! <= offset) low = middle + 1
      else high = middle
    }
    return low
  }

  #thin(): void {
    const half = this.#times.length >>> 1
    const keep = (_: unknown, index: number) => index >= half || index % 2 === 0
    this.#times = this.#times.filter(keep)
    this.#offsets = this.#offsets.filter(keep)
  }
}
