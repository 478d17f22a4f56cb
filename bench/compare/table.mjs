// The result for a terminal: one table a situation, aligned.
const COLUMNS = [
  ['option', run => run.option, 'left'],
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

const percent = share => `${(share * 100).toFixed(1)} %`

export function print({ machine, minutes, leftOut, runs }) {
  const situations = new Map()
  for (const run of runs) {
    const { lagMs, mix, clients, replicas } = run
    const title = `${lagMs === 'paused' ? 'one replica paused' : `lag ${lagMs} ms`}, ${mix}, ${clients} clients, ${replicas} replicas`
    situations.set(title, [...(situations.get(title) ?? []), run])
  }
  const tables = [...situations].map(([title, own]) => `${title}\n${table(own)}`)
  const notes = [
    'floor: reads that any correct router must send to the primary or make wait, as no replica had the own write yet.',
    ...leftOut.map(what => `left out: ${what}`),
    `${machine.cpu}, ${machine.cores} cores, Node ${machine.node}; ${minutes} minutes.`,
  ]
  return [...tables, notes.join('\n')].join('\n\n')
}

function table(runs) {
  const rows = [COLUMNS.map(([title]) => title), ...runs.map(run => COLUMNS.map(([, value]) => String(value(run) ?? '-')))]
  const widths = COLUMNS.map((_, index) => Math.max(...rows.map(row => row[index].length)))
  return rows
    .map(row => row.map((cell, i) => (COLUMNS[i][2] === 'left' ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  '))
    .join('\n')
}
