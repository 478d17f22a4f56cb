import {
  checkHistory,
  describeViolation,
  HistoryError,
  type HistoryRecord,
  type HistoryReport,
  RULE_NAMES,
  readHistory,
} from '../../testing/index.js'
import { type Command, EXIT, parse } from '../command.js'
import { UsageError } from '../errors.js'
import { table } from '../table.js'
import type { Paint, Style, Terminal } from '../terminal.js'

const HELP = `Judges a history of reads and writes: which guarantees hold, and what shows that one does not.

Usage: tidemark check FILE… [options]

Each file holds one JSON object a line (docs/checker.md has the format); several files are one history, '-' is standard input.

Options:
      --json  Print the report as one JSON object
  -h, --help  Show this

Exit codes: 0 no rule was seen broken, 1 there are violations, 2 a file cannot be used.`

export const checkCommand: Command = {
  name: 'check',
  summary: 'Judge a history of reads and writes, of any system',
  help: HELP,
  async run(args, terminal) {
    const { values, positionals: files } = parse(args, { json: { type: 'boolean' } } as const)
    if (files.length === 0) throw new UsageError("Expected the files of the history, or '-' for standard input")
    let report: HistoryReport
    try {
      report = await checkFiles(files)
    } catch (error) {
      if (!(error instanceof HistoryError)) throw error
      terminal.fail(`tidemark check: ${error.message}`)
      return EXIT.UNUSABLE
    }
    if (values.json === true) terminal.print(JSON.stringify(report, null, 2))
    else print(report, terminal)
    return report.ok ? EXIT.OK : EXIT.FAILED
  },
}

/** What contradicts an earlier record is reported with the place of the later one, which was read last. */
async function checkFiles(files: readonly string[]): Promise<HistoryReport> {
  let place = ''
  const records = async function* (): AsyncGenerator<HistoryRecord> {
    for (const file of files) {
      let line = 0
      for await (const record of readHistory(file === '-' ? process.stdin : file)) {
        place = `${file}:${++line}`
        yield record
      }
    }
  }
  try {
    return await checkHistory(records())
  } catch (error) {
    if (!(error instanceof HistoryError) || !error.message.startsWith('record ')) throw error
    throw new HistoryError(place, error.record, error.problem, { cause: error })
  }
}

const MARKS: Readonly<Record<string, readonly [string, Style]>> = {
  holds: ['holds', 'green'],
  violated: ['VIOLATED', 'red'],
  'not-decidable': ['not decidable', 'yellow'],
}

function print(report: HistoryReport, terminal: Terminal): void {
  const { counts, lostWrites, violations, violationCount } = report
  terminal.print(
    `${counts.operations} operations (${counts.reads} with reads, ${counts.writes} with writes) of ${counts.sessions} sessions ` +
      `on ${counts.keys} keys; ${counts.failed} failed, ${counts.unknown} without an answer`,
    ...(lostWrites.total === 0
      ? []
      : [`${lostWrites.total} acknowledged writes lost: ${lostWrites.reported} reported, ${lostWrites.unreported} not`]),
    '',
    ...verdicts(report, terminal.paint),
  )
  for (const violation of violations) {
    const [title, ...lines] = describeViolation(violation)
    terminal.print('', terminal.paint('red', title!), ...lines)
  }
  if (violationCount > violations.length) terminal.print('', `… and ${violationCount - violations.length} more violations.`)
}

function verdicts({ rules }: HistoryReport, paint: Paint): string[] {
  const columns = [
    { title: 'rule' },
    { title: 'verdict' },
    { title: 'judged', align: 'right' },
    { title: 'violations', align: 'right' },
    { title: 'undecided', align: 'right' },
  ] as const
  const rows = RULE_NAMES.map(rule => {
    const { verdict, checked, violations, undecided } = rules[rule]
    const [text, style] = checked === 0 ? (['nothing to judge', 'dim'] as const) : MARKS[verdict]!
    return [rule, { text, style }, String(checked), String(violations), String(undecided)]
  })
  return table(columns, rows, paint)
}
