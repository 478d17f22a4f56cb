import { setTimeout as sleep } from 'node:timers/promises'
import { type Command, EXIT, parse } from '../command.js'
import { UsageError } from '../errors.js'
import type { Terminal } from '../terminal.js'
import { describeReport } from './describe-report.js'
import { Observer } from './observer.js'

const DEFAULT_INTERVAL_S = 2

const HELP = `Shows what Tidemark sees of a cluster, and what endangers the guarantee.

Usage: tidemark status URL… [options]

Connects to each node as the user in its URL. For every finding it says what was found, why it matters and what to do.
A password is better given by PGPASSWORD or a .pgpass file than in the URL, where other users of this machine see it.

Options:
      --watch [SECONDS]  Go on until Ctrl-C, refreshed this often (default: ${DEFAULT_INTERVAL_S})
      --json             Print one JSON object; with --watch, one a line
  -h, --help             Show this

Exit codes: 0 the guarantee holds, 1 there is no primary or no node that can be used.`

const OPTIONS = { watch: { type: 'string' }, json: { type: 'boolean' } } as const

export const statusCommand: Command = {
  name: 'status',
  summary: 'Show what Tidemark sees of a cluster, and what endangers the guarantee',
  help: HELP,
  async run(args, terminal) {
    const { values, positionals: urls } = parse(withInterval(args), OPTIONS)
    if (urls.length === 0) throw new UsageError('Expected the URLs of the nodes, such as postgres://user@host:5432/database')
    const intervalS = values.watch === undefined ? undefined : Number(values.watch)
    if (intervalS !== undefined && !(intervalS >= 0.1 && intervalS <= 86_400)) {
      throw new UsageError(`--watch takes a number of seconds from 0.1 to 86400, not '${values.watch}'`)
    }
    const observer = new Observer(urls, terminal.signal)
    try {
      return await show(observer, { intervalS, json: values.json === true }, terminal)
    } finally {
      await observer.close()
    }
  },
}

interface ShowOptions {
  /** `undefined`: once. */
  readonly intervalS: number | undefined
  readonly json: boolean
}

async function show(observer: Observer, { intervalS, json }: ShowOptions, terminal: Terminal): Promise<number> {
  for (;;) {
    const report = await observer.report()
    const exitCode = report.ok ? EXIT.OK : EXIT.FAILED
    if (json) terminal.print(JSON.stringify(report, null, intervalS === undefined ? 2 : 0))
    else {
      const lines = describeReport(report, terminal.paint)
      if (intervalS === undefined) terminal.print(...lines)
      else terminal.reprint(terminal.paint('dim', `${new Date().toISOString()}, every ${intervalS} s; Ctrl-C ends`), ...lines)
    }
    if (intervalS === undefined) return exitCode
    await sleep(intervalS * 1_000, undefined, { signal: terminal.signal }).catch(() => {})
    if (terminal.signal.aborted) return exitCode
  }
}

/** Gives `--watch` the value that parseArgs cannot do without. */
function withInterval(args: readonly string[]): string[] {
  const isNumber = (arg = '') => /^[\d.]+$/.test(arg)
  return args.flatMap((arg, index) => {
    if (arg === '--watch') return [`--watch=${isNumber(args[index + 1]) ? args[index + 1] : DEFAULT_INTERVAL_S}`]
    return isNumber(arg) && args[index - 1] === '--watch' ? [] : [arg]
  })
}
