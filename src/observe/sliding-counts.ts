/**
 * How many of how many, over the last minutes, hours and days: counts in buckets of equal width, of which the oldest is
 * overwritten. A window is answered to the width of a bucket, and never leaves out what happened in the bucket of now.
 */
export class SlidingCounts {
  readonly #widthMs: number
  readonly #bad: Float64Array
  readonly #total: Float64Array
  /** Number of the newest bucket since the clock's zero. */
  #newest = Number.NaN

  /** `spanMs`: the longest window that will be asked for. */
  constructor(widthMs: number, spanMs: number) {
    this.#widthMs = widthMs
    const size = Math.ceil(spanMs / widthMs) + 1
    this.#bad = new Float64Array(size)
    this.#total = new Float64Array(size)
  }

  add(now: number, bad: number, total = 1): void {
    const slot = this.#advance(now)
    this.#bad[slot]! += bad
    this.#total[slot]! += total
  }

  /** What happened in the last `windowMs`. */
  over(windowMs: number, now: number): { readonly bad: number; readonly total: number } {
    this.#advance(now)
    const size = this.#bad.length
    const buckets = Math.min(size, Math.ceil(windowMs / this.#widthMs) + 1)
    let bad = 0
    let total = 0
    for (let back = 0; back < buckets; back++) {
      const slot = (((this.#newest - back) % size) + size) % size
      bad += this.#bad[slot]!
      total += this.#total[slot]!
    }
    return { bad, total }
  }

  /** The slot of now; the buckets that time has passed over meanwhile are emptied. */
  #advance(now: number): number {
    const size = this.#bad.length
    const at = Math.floor(now / this.#widthMs)
    if (Number.isNaN(this.#newest)) this.#newest = at
    const passed = Math.min(size, at - this.#newest)
    for (let next = 1; next <= passed; next++) {
      const slot = (((at - passed + next) % size) + size) % size
      this.#bad[slot] = 0
      this.#total[slot] = 0
    }
    this.#newest = Math.max(this.#newest, at)
    return ((this.#newest % size) + size) % size
  }
}
