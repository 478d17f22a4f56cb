// The result for a terminal: one table a situation, aligned.
import { cells, titles } from './columns.mjs'

export function print({ machine, minutes, incomplete, leftOut, runs }) {
  const situations = new Map()
  for (const run of runs) {
    const { lagMs, mix, clients, replicas } = run
    const title = `${lagMs === 'paused' ? 'one replica paused' : `lag ${lagMs} ms`}, ${mix}, ${clients} clients, ${replicas} replicas`
    situations.set(title, [...(situations.get(title) ?? []), run])
  }
  const tables = [...situations].map(([title, own]) => `${title}\n${table(own)}`)
  const notes = [
    'floor: reads that any correct router must send to the primary or make wait, as no replica had the own write yet.',
    ...(incomplete ? [`INCOMPLETE: ${incomplete}`] : []),
    ...leftOut.map(what => `left out: ${what}`),
    `${machine.cpu}, ${machine.cores} cores, Node ${machine.node}; ${minutes} minutes.`,
  ]
  return [...tables, notes.join('\n')].join('\n\n')
}

function table(runs) {
  const rows = [titles(), ...runs.map(cells)]
  const widths = rows[0].map((_, index) => Math.max(...rows.map(row => row[index].length)))
  return rows
    .map(row => row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  '))
    .join('\n')
}
