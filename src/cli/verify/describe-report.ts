import type { PathReport, VerifyReport } from '../../verify/report.js'
import type { Target } from '../../verify/target.js'
import { duration } from '../format.js'
import { type Cell, type Column, table } from '../table.js'
import type { Paint } from '../terminal.js'

/** Of each path. */
const MAX_COUNTEREXAMPLES = 3

export interface Verdict {
  readonly kind: 'holds' | 'violated' | 'inconclusive'
  readonly text: string
}

/** What the run proves, in a sentence. */
export function verdictOf({ violations, conclusive, inconclusive, reads, paths, control }: VerifyReport): Verdict {
  if (violations > 0) {
    const text = `The guarantee does not hold: ${violations} violations in ${reads} fenced reads. That must never happen.`
    return { kind: 'violated', text }
  }
  if (!conclusive) return { kind: 'inconclusive', text: `Nothing is proved: ${inconclusive.join('; ')}.` }
  const text =
    `The guarantee holds: none of ${reads} fenced reads on ${paths.length} paths missed a write; ` +
    `without a fence ${control.violations} of ${control.reads} did.`
  return { kind: 'holds', text }
}

const COLUMNS: readonly Column[] = [
  { title: 'path' },
  ...['reads', 'at risk', 'violations', 'fallbacks', 'refused', 'added p50', 'added p99', 'staleness'].map(
    title => ({ title, align: 'right' }) as const,
  ),
]

/** The table, and what there is to say about it. */
export function describeReport(report: VerifyReport & Pick<Target, 'changed'>, paint: Paint): string[] {
  const { paths, control, skipped, counterexamples } = report
  const controls = control.replicas.map(({ path, reads, violations, stalenessMs }): Cell[] => [
    { text: `${path} (no fence)`, style: 'dim' },
    String(reads),
    '',
    { text: String(violations), style: violations > 0 ? 'green' : 'yellow' },
    ...['', '', '', ''],
    milliseconds(stalenessMs),
  ])
  return [
    ...table(COLUMNS, [...paths.map(rowOf), ...controls], paint),
    ...skipped.map(({ path, reason }) => paint('dim', `Left out: ${path}; ${reason}.`)),
    ...report.changed.map(each => paint('dim', `Changed, and put back: ${each}.`)),
    ...paths.flatMap(({ path }) =>
      counterexamples
        .filter(each => each.path === path)
        .slice(0, MAX_COUNTEREXAMPLES)
        .map(({ rule, message }) => paint('red', `${path}: ${rule}: ${message}`)),
    ),
  ]
}

function rowOf({ path, reads, atRisk, violations, fallbacks, refused, addedP50Ms, addedP99Ms, stalenessMs }: PathReport): Cell[] {
  return [
    path,
    String(reads),
    String(atRisk),
    { text: String(violations), style: violations > 0 ? 'red' : 'green' },
    String(fallbacks),
    String(refused),
    milliseconds(addedP50Ms),
    milliseconds(addedP99Ms),
    milliseconds(stalenessMs),
  ]
}

/** May be negative: a path can be faster than the driver was, by chance or from a cache. */
function milliseconds(ms: number | null): string {
  if (ms === null) return '-'
  return ms < 0 ? `-${duration(-ms)}` : duration(ms)
}
