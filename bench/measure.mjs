// How everything here is measured: variants take turns within one run, in an order that rotates, so that whatever else
// the machine is doing falls on all of them alike; what is reported is the ratio to the baseline, round by round.

/**
 * Runs `work` with `inFlight` at a time for `forMs`: operations per second, and CPU microseconds of this process per operation.
 * The latter says what a path costs also where others keep the machine busy, or the server or its disk is the slower part.
 */
export async function measured(work, inFlight, forMs) {
  const cpuBefore = process.cpuUsage()
  const startedAt = performance.now()
  const end = startedAt + forMs
  let done = 0
  const lane = async () => {
    while (performance.now() < end) {
      await work()
      done++
    }
  }
  await Promise.all(Array.from({ length: inFlight }, lane))
  const { user, system } = process.cpuUsage(cpuBefore)
  return { perSecond: (done * 1000) / (performance.now() - startedAt), cpuUs: (user + system) / done }
}

/**
 * `variants`: { name: work }, or { name: { work, enter } }, where `enter` prepares a turn and returns how to leave it. Returns
 * { name: [what was measured, a round each] }.
 */
export async function rounds(variants, { inFlight, rounds, roundMs, progress }) {
  const names = Object.keys(variants)
  const samples = Object.fromEntries(names.map(name => [name, []]))
  const turn = async name => {
    const { work = variants[name], enter } = variants[name]
    const leave = await enter?.()
    try {
      return await measured(work, inFlight, roundMs)
    } finally {
      await leave?.()
    }
  }
  for (const name of names) await turn(name)
  for (let round = 0; round < rounds; round++) {
    progress(`${names.join(' / ')}, ${inFlight} in flight: round ${round + 1} of ${rounds}`)
    const order = names.map((_, i) => names[(i + round) % names.length])
    for (const name of order) samples[name].push(await turn(name))
  }
  return samples
}

/**
 * The first variant is the baseline. Returns { name: { median, min, max, cpu } }: ratios of throughput, and `cpu` microseconds of
 * CPU per operation, of the baseline and of the variant, with the median of the ratios.
 */
export async function ratios(variants, settings) {
  const samples = await rounds(variants, settings)
  const [first, ...others] = Object.keys(variants)
  const baseline = samples[first]
  return Object.fromEntries(others.map(name => [name, ratioOf(baseline, samples[name])]))
}

function ratioOf(baseline, samples) {
  const by = measure => samples.map((sample, i) => sample[measure] / baseline[i][measure])
  const cpuUs = of => round(median(of.map(sample => sample.cpuUs)), 1)
  const cpu = { baselineUs: cpuUs(baseline), ownUs: cpuUs(samples), ratio: round(median(by('cpuUs')), 3) }
  return { ...spread(by('perSecond')), cpu }
}

/** The first variant is the baseline. Returns { name: spread } of the CPU microseconds that each operation adds to the baseline's. */
export async function addedCpu(variants, settings) {
  const samples = await rounds(variants, settings)
  const [first, ...others] = Object.keys(variants)
  const added = name => samples[name].map(({ cpuUs }, i) => cpuUs - samples[first][i].cpuUs)
  return Object.fromEntries(others.map(name => [name, spread(added(name), 1)]))
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

/** CPU microseconds per call, the median of several batches. */
export function cpuMicroseconds(work, { batch = 5_000, batches = 21 } = {}) {
  const samples = []
  for (let i = 0; i < batches; i++) {
    const before = process.cpuUsage()
    for (let j = 0; j < batch; j++) work(j)
    const { user, system } = process.cpuUsage(before)
    samples.push((user + system) / batch)
  }
  return median(samples)
}

export function spread(samples, digits = 3) {
  return {
    median: round(median(samples), digits),
    min: round(Math.min(...samples), digits),
    max: round(Math.max(...samples), digits),
  }
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
