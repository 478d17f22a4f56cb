// The result's tables for docs/comparison.md.
const COLUMNS = [
  ['', run => run.option],
  ['missed per million', run => run.violationsPerMillion],
  ['primary reads', run => percent(run.primaryReadShare)],
  ['requests / s', run => run.throughput],
  ['read p50', run => run.readP50Ms],
  ['p95', run => run.readP95Ms],
  ['p99 ms', run => run.readP99Ms],
  ['write p50', run => run.writeP50Ms],
  ['p99 ms', run => run.writeP99Ms],
  ['CPU µs', run => run.cpuUs],
]

const percent = share => `${(share * 100).toFixed(1)} %`

export function markdown({ machine, minutes, options, leftOut, runs }) {
  const base = runs.filter(({ clients, replicas }) => clients === 16 && replicas === 2)
  const tables = ['read-heavy', 'balanced'].flatMap(mix =>
    [0, 50, 500, 'paused'].map(lagMs => {
      const own = base.filter(run => run.mix === mix && run.lagMs === lagMs)
      const title = lagMs === 'paused' ? 'one of two replicas paused' : `replicas ${lagMs} ms behind`
      const floor = percent(Math.max(0, ...own.map(run => run.floorShare)))
      return `### ${mix}, ${title}\n\nFloor: up to ${floor} of the reads.\n\n${table(own)}`
    }),
  )
  const why = options.map(({ name, why: reason }) => `- **${name}**: ${reason}.`)
  const where = `Measured on ${machine.cpu.trim()}, ${machine.cores} cores, Node ${machine.node}, PostgreSQL ${machine.postgres}, ${machine.date.slice(0, 10)}, in ${minutes} minutes.`
  return [where, ...tables, '### What each is', why.join('\n'), ...leftOut.map(what => `Left out: ${what}.`)].join('\n\n')
}

function table(runs) {
  const line = cells => `| ${cells.join(' | ')} |`
  const rule = COLUMNS.map((_, index) => (index === 0 ? '---' : '---:'))
  return [
    line(COLUMNS.map(([title]) => title)),
    line(rule),
    ...runs.map(run => line(COLUMNS.map(([, value]) => String(value(run) ?? '–')))),
  ].join('\n')
}
