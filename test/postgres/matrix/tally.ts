/** What the workloads of the matrix counted, and the table of it. */

export class Tally {
  /** Reads that were served. */
  reads = 0
  /** Served reads that missed an acknowledged write and did not say that it may be lost, or said so without grounds. */
  violations = 0
  /** Reads that said that a write may be lost. */
  reports = 0
  /** Acknowledged writes that were missing from what the primary served with such a report. */
  lost = 0
  /** Reads and writes that failed openly. */
  unavailable = 0
  onReplicas = 0
  /** What the first violations were, for whoever has to find out why. */
  readonly details: string[] = []

  violation(detail: string): void {
    this.violations++
    if (this.details.length < 3) this.details.push(detail)
  }
}

export function total(tallies: Iterable<Tally>): Tally {
  const sum = new Tally()
  for (const tally of tallies) {
    for (const key of ['reads', 'violations', 'reports', 'lost', 'unavailable', 'onReplicas'] as const) sum[key] += tally[key]
    sum.details.push(...tally.details)
  }
  return sum
}

export interface Row {
  readonly labels: readonly string[]
  readonly tally: Tally
  /** Whether it is known who served. */
  readonly routed: boolean
}

/** Aligned; the first `labels` columns to the left, the numbers to the right. */
export function tableOf(labels: readonly string[], rows: readonly Row[]) {
  const titles = [...labels, 'reads', 'violations', 'loss reports', 'writes lost', 'unavailable', 'on replicas']
  const cells = rows.map(({ labels: own, tally, routed }) => {
    const share = !routed || tally.reads === 0 ? '-' : `${Math.round((100 * tally.onReplicas) / tally.reads)} %`
    return [...own, tally.reads, tally.violations, tally.reports, tally.lost, tally.unavailable, share].map(String)
  })
  const widths = titles.map((title, index) => Math.max(title.length, ...cells.map(row => row[index]!.length)))
  const aligned = (cell: string, index: number) =>
    index < labels.length ? cell.padEnd(widths[index]!) : cell.padStart(widths[index]!)
  return [titles, ...cells].map(row => row.map(aligned).join('  ')).join('\n')
}
