// How everything here is measured: variants take turns within one run, in an order that rotates, so that whatever else
// the machine is doing falls on all of them alike; what is reported is the ratio to the baseline, round by round.

/** Runs `work` with `inFlight` at a time for `forMs`; operations per second. */
export async function throughput(work, inFlight, forMs) {
  const end = performance.now() + forMs
  const startedAt = performance.now()
  let done = 0
  const lane = async () => {
    while (performance.now() < end) {
      await work()
      done++
    }
  }
  await Promise.all(Array.from({ length: inFlight }, lane))
  return (done * 1000) / (performance.now() - startedAt)
}

/** `variants`: { name: work }, the first is the baseline. Returns { name: { median, min, max } } of throughput ratios. */
export async function ratios(variants, { inFlight, rounds, roundMs, progress }) {
  const names = Object.keys(variants)
  const samples = Object.fromEntries(names.map(name => [name, []]))
  for (const name of names) await throughput(variants[name], inFlight, roundMs)
  for (let round = 0; round < rounds; round++) {
    progress(`${names.join(' / ')}, ${inFlight} in flight: round ${round + 1} of ${rounds}`)
    const order = names.map((_, i) => names[(i + round) % names.length])
    for (const name of order) samples[name].push(await throughput(variants[name], inFlight, roundMs))
  }
  const baseline = samples[names[0]]
  return Object.fromEntries(names.slice(1).map(name => [name, spread(samples[name].map((sample, i) => sample / baseline[i]))]))
}

/** Nanoseconds per call, the median of several batches. */
export function nanoseconds(work, { batch = 20_000, batches = 15 } = {}) {
  const samples = []
  for (let i = 0; i < batches; i++) {
    const start = process.hrtime.bigint()
    for (let j = 0; j < batch; j++) work(j)
    samples.push(Number(process.hrtime.bigint() - start) / batch)
  }
  return round(median(samples), 0)
}

export function spread(samples) {
  return { median: round(median(samples), 3), min: round(Math.min(...samples), 3), max: round(Math.max(...samples), 3) }
}

export function median(samples) {
  const sorted = [...samples].sort((a, b) => a - b)
  return sorted[sorted.length >> 1]
}

/** Of samples in any order; undefined of none. */
export function percentile(samples, percent) {
  const sorted = [...samples].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))]
}

export function round(value, digits) {
  return Number(value.toFixed(digits))
}
