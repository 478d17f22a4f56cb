// The result's tables for docs/comparison.md.
import { cells, titles } from './columns.mjs'

export function markdown({ machine, minutes, slotMs, options, leftOut, runs }) {
  const base = runs.filter(({ clients, replicas }) => clients === 16 && replicas === 2)
  const tables = ['read-heavy', 'balanced'].flatMap(mix =>
    [0, 50, 500, 'paused'].map(lagMs => {
      const own = base.filter(run => run.mix === mix && run.lagMs === lagMs)
      const title = lagMs === 'paused' ? 'one of two replicas paused' : `replicas ${lagMs} ms behind`
      return `### ${mix}, ${title}\n\n${table(own)}`
    }),
  )
  const why = options.map(({ name, why: reason }) => `- **${name}**: ${reason}.`)
  const where = `Measured on ${machine.cpu.trim()}, ${machine.cores} cores, Node ${machine.node}, PostgreSQL ${machine.postgres}, ${machine.date.slice(0, 10)}, in ${minutes} minutes, with \`--slot-ms ${slotMs}\`.`
  return [where, PLOTS, ...tables, '### What each is', why.join('\n'), ...leftOut.map(what => `Left out: ${what}.`)].join('\n\n')
}

const PLOTS = `![Reads that the primary served, and own writes missed](comparison/missed.svg)

![Requests per second by clients](comparison/clients.svg)

![Reads served by the primary, by replicas](comparison/replicas.svg)`

function table(runs) {
  const line = row => `| ${row.join(' | ')} |`
  const rule = titles().map((_, index) => (index === 0 ? '---' : '---:'))
  return [titles(), rule, ...runs.map(cells)].map(line).join('\n')
}
