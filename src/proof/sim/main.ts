/** `npm run sim`: parses, runs, prints. */
import { constants } from 'node:os'
import { EXIT } from '../../cli/command.js'
import { describeError, UsageError } from '../../cli/errors.js'
import { Terminal } from '../../cli/terminal.js'
import { HELP, parseSimOptions } from './options.js'
import { replaySeed } from './replay-seed.js'
import { runAndReport } from './run-and-report.js'
import { runMutantsAndReport } from './run-mutants-and-report.js'

async function main(args: readonly string[], terminal: Terminal): Promise<number> {
  try {
    const options = parseSimOptions(args)
    if (options.mode === 'help') terminal.print(HELP)
    else if (options.mode === 'replay') return await replaySeed(options, terminal)
    else if (options.mode === 'mutants') return await runMutantsAndReport(options, terminal)
    else return await runAndReport(options, terminal)
    return EXIT.OK
  } catch (error) {
    if (terminal.signal.aborted) return 128 + constants.signals[terminal.signal.reason as NodeJS.Signals]
    terminal.fail(`sim: ${describeError(error)}`)
    if (!(error instanceof UsageError)) return EXIT.FAILED
    terminal.warn(HELP)
    return EXIT.USAGE
  }
}

const interrupted = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => interrupted.abort(signal))
const { stdout, stderr, env } = process
process.exitCode = await main(process.argv.slice(2), new Terminal({ stdout, stderr, env, signal: interrupted.signal }))
