/** A run's result for people. */
import { duration } from '../../cli/format.js'
import { type Cell, table } from '../../cli/table.js'
import type { Paint } from '../../cli/terminal.js'
import { describeViolation, type HistoryReport } from '../../testing/index.js'
import type { Judged } from './verdict.js'

export function describe(judged: Judged, deadlineMs: number, paint: Paint): string[] {
  const { verdict, byDevice, byUser } = judged
  const { ops, faults, violations, lostReported, lostUnreported, worstStallMs } = verdict
  const count = (number: number, isBad = number > 0): Cell => ({ text: String(number), style: isBad ? 'red' : 'green' })
  const { ok, failed, unknown } = byDevice.counts
  const rows: Cell[][] = [
    ['requests', String(ops)],
    ['  answered', String(ok)],
    ['  refused or failed', String(failed)],
    ['  without an answer', String(unknown)],
    ...Object.entries(faults).map(([kind, times]): Cell[] => [`fault: ${kind}`, times === 0 ? count(0, true) : String(times)]),
    ['violations', count(violations)],
    ['lost writes, reported', String(lostReported)],
    ['lost writes, unreported', count(lostUnreported)],
    ['worst stall', { text: duration(worstStallMs), style: worstStallMs > deadlineMs ? 'red' : 'green' }],
    ['  deadline', duration(deadlineMs)],
  ]
  return [
    ...table([{ title: '' }, { title: '', align: 'right' }], rows, paint).slice(1),
    '',
    ...rulesOf(byDevice, byUser, paint),
    ...describeViolations(judged),
  ]
}

/** In the checker's words: of each rule the first ones, with what shows them. */
export function describeViolations({ byDevice, byUser }: Judged): string[] {
  return [...byDevice.violations, ...byUser.violations].flatMap(violation => ['', ...describeViolation(violation)])
}

/** How much there was to judge, by rule: for each device as a session, and for each user. */
function rulesOf(byDevice: HistoryReport, byUser: HistoryReport, paint: Paint): string[] {
  const rules = Object.keys(byDevice.rules) as (keyof HistoryReport['rules'])[]
  const rows = rules
    .map(rule => [rule, byDevice.rules[rule], byUser.rules[rule]] as const)
    .filter(([, devices, users]) => devices.checked + users.checked > 0)
    .map(([rule, devices, users]): Cell[] => [
      rule,
      String(devices.checked),
      String(users.checked),
      String(devices.undecided + users.undecided),
      { text: String(devices.violations + users.violations), style: devices.violations + users.violations > 0 ? 'red' : 'green' },
    ])
  const columns = ['rule', 'by device', 'by user', 'undecided', 'violations']
  return table(
    columns.map((title, i) => ({ title, align: i === 0 ? 'left' : 'right' })),
    rows,
    paint,
  )
}
