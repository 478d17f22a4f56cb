import { bytes, duration } from '../format.js'
import { type Cell, table } from '../table.js'
import { type Paint, printable, type Style } from '../terminal.js'
import type { Finding } from './findings.js'
import type { StatusReport } from './observer.js'

const COLUMNS = [
  { title: 'node' },
  { title: 'role' },
  { title: 'state' },
  { title: 'timeline', align: 'right' },
  { title: 'applied' },
  { title: 'behind', align: 'right' },
  { title: 'staleness', align: 'right' },
  { title: 'version' },
] as const

const MARKS: Readonly<Record<Finding['severity'], readonly [string, Style]>> = {
  fatal: ['✗', 'red'],
  warning: ['!', 'yellow'],
  note: ['·', 'cyan'],
}

/** The report as lines for people: a table of nodes, then one line a finding. */
export function describeReport({ ok, nodes, findings }: StatusReport, paint: Paint): string[] {
  const rows = nodes.map((node): Cell[] => [
    node.node,
    node.role ?? '?',
    node.usable ? { text: 'used', style: 'green' } : { text: 'not used', style: 'red' },
    node.timeline === undefined ? '-' : String(node.timeline),
    node.applied ?? '-',
    node.behindBytes === undefined ? '-' : bytes(node.behindBytes),
    node.stalenessMs === undefined ? '-' : duration(node.stalenessMs),
    node.version === undefined ? '-' : printable(node.version),
  ])
  return [
    ...table(COLUMNS, rows, paint),
    '',
    ...findings.map(finding => describeFinding(finding, paint)),
    verdict(ok, findings, paint),
  ]
}

function describeFinding({ severity, node, found, why, advice }: Finding, paint: Paint): string {
  const [mark, style] = MARKS[severity]
  const what = paint('bold', `${node ?? 'cluster'}: ${printable(found)}.`)
  return `${paint(style, mark)} ${what} ${why.charAt(0).toUpperCase()}${why.slice(1)}. To do: ${printable(advice)}.`
}

function verdict(ok: boolean, findings: readonly Finding[], paint: Paint): string {
  if (!ok) return paint('red', 'The guarantee cannot be given.')
  return findings.length === 0 ? paint('green', 'Fine: nothing endangers the guarantee.') : 'The guarantee can be given.'
}
