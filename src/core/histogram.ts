/** Counts of durations in buckets: cheap to fill, bounded, and enough for quantiles. */

/** Upper bounds in milliseconds, inclusive; a last bucket takes what is longer. The first holds the reads that did not wait. */
export const BUCKETS_MS: readonly number[] = Object.freeze([0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000])

export interface HistogramSnapshot {
  /** As {@link BUCKETS_MS}. */
  readonly boundsMs: readonly number[]
  /** One more than bounds: how many fell into each, not cumulative. */
  readonly counts: readonly number[]
  readonly count: number
  readonly sumMs: number
}

export class Histogram {
  readonly #counts = new Float64Array(BUCKETS_MS.length + 1)
  #sumMs = 0

  record(ms: number): void {
    let index = 0
    while (index < BUCKETS_MS.length && ms > BUCKETS_MS[index]!) index++
    this.#counts[index]!++
    this.#sumMs += ms
  }

  snapshot(): HistogramSnapshot {
    const counts = [...this.#counts]
    return { boundsMs: BUCKETS_MS, counts, count: counts.reduce((sum, each) => sum + each, 0), sumMs: this.#sumMs }
  }
}

/** What happened between two snapshots. */
export function between(before: HistogramSnapshot | undefined, now: HistogramSnapshot): HistogramSnapshot {
  if (before === undefined) return now
  const counts = now.counts.map((count, index) => count - before.counts[index]!)
  return { boundsMs: now.boundsMs, counts, count: now.count - before.count, sumMs: now.sumMs - before.sumMs }
}

/**
 * The value that the share `q` of them does not exceed, taken as evenly spread within its bucket; `undefined` of none. What is
 * in the last bucket counts as its lower bound.
 */
export function quantile(histogram: HistogramSnapshot, q: number): number | undefined {
  if (histogram.count === 0) return undefined
  const rank = q * histogram.count
  let below = 0
  for (const [index, count] of histogram.counts.entries()) {
    if (count > 0 && below + count >= rank) {
      const low = index === 0 ? 0 : histogram.boundsMs[index - 1]!
      const high = histogram.boundsMs[index] ?? low
      return low + ((high - low) * (rank - below)) / count
    }
    below += count
  }
  return histogram.boundsMs[histogram.boundsMs.length - 1]
}
