// What is shown of a run, in the terminal and in docs/comparison.md.
export const percent = share => `${(share * 100).toFixed(1)} %`

export const COLUMNS = [
  ['option', run => run.option],
  ['missed / million', run => run.violationsPerMillion],
  ['primary reads', run => percent(run.primaryReadShare)],
  ['floor', run => percent(run.floorShare)],
  ['requests / s', run => run.throughput],
  ['read p50', run => run.readP50Ms],
  ['p95', run => run.readP95Ms],
  ['p99 ms', run => run.readP99Ms],
  ['write p50', run => run.writeP50Ms],
  ['p99 ms', run => run.writeP99Ms],
  ['CPU µs', run => run.cpuUs],
  ['failed', run => run.failed],
]

export const titles = () => COLUMNS.map(([title]) => title)
export const cells = run => COLUMNS.map(([, value]) => String(value(run) ?? '–'))
