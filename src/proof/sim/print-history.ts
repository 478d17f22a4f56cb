import type { Terminal } from '../../cli/terminal.js'
import type { Played } from './play-schedule.js'
import type { Violation } from './seed-report.js'

/** What happened, line by line in the order of time; operations that break a rule are marked. */
export function historyLines({ records, events, violations }: Played): string[] {
  const guilty = new Set(violations.flatMap(({ operations }) => operations))
  const lines = events.map(({ at, text }) => ({ at, line: `${time(at)}   ${text}` }))
  for (const record of records) {
    if (record.type !== 'op') continue
    const { type: _, id, start, end, ...rest } = record
    const mark = guilty.has(id) ? '>' : ' '
    const until = end === undefined ? 'no answer' : `until ${end.toFixed(1)}`
    lines.push({ at: start, line: `${time(start)} ${mark} op ${id} ${until} ${JSON.stringify(rest)}` })
  }
  return lines.sort((a, b) => a.at - b.at).map(({ line }) => line)
}

export function printViolations(violations: readonly Violation[], terminal: Terminal): void {
  for (const { rule, words } of violations) terminal.print(terminal.paint('red', `${rule}: ${words}`))
}

function time(at: number): string {
  return at.toFixed(1).padStart(9)
}
