import { randomInt } from 'node:crypto'
import { parse, refusePositionals, wholeNumber } from '../../cli/command.js'
import { describeError, UsageError } from '../../cli/errors.js'
import { Terminal } from '../../cli/terminal.js'
import { describeReport } from './describe-report.js'
import { type FuzzReport, fuzz, replayCommand } from './fuzz.js'
import { TARGETS } from './targets.js'

const HELP = `Feeds bad input to everything that takes input from outside.

Usage: npm run fuzz -- [options]

Options:
      --seconds N    How long (default: 60)
      --seed N       Cases follow from it (default: a random one, which is printed)
      --target NAME  Only this one: ${TARGETS.map(({ name }) => name).join(', ')}
      --path PATH    With --target and --seed as a failure printed them: that case and no other
      --json         Print one JSON object
  -h, --help         Show this

Exit codes: 0 nothing was found, 1 something was, 2 the command line was not understood.`

const OPTIONS = {
  seconds: { type: 'string' },
  seed: { type: 'string' },
  target: { type: 'string' },
  path: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const

const MAX_SEED = 2 ** 31 - 1

async function main(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, OPTIONS)
  if (values.help) {
    terminal.print(HELP)
    return 0
  }
  refusePositionals(positionals)
  const seconds = wholeNumber('--seconds', values.seconds, 60, 1, 86_400)
  const sources = TARGETS.filter(({ name }) => values.target === undefined || name === values.target)
  if (sources.length === 0) throw new UsageError(`--target must be one of ${TARGETS.map(({ name }) => name).join(', ')}`)
  if (
    values.path !== undefined &&
    (values.target === undefined || values.seed === undefined || !/^\d+(:\d+)*$/.test(values.path))
  ) {
    throw new UsageError('--path goes with --target and --seed, all as a failure printed them')
  }
  const report = await fuzz({
    sources,
    seconds,
    seed: wholeNumber('--seed', values.seed, randomInt(MAX_SEED), 0, MAX_SEED),
    path: values.path,
    signal: terminal.signal,
    onProgress: message => terminal.progress(message),
  })
  terminal.print(...(values.json ? [JSON.stringify(withCommands(report), null, 2)] : describeReport(report, terminal.paint)))
  return report.accepted + report.crashes + report.waits === 0 ? 0 : 1
}

function withCommands(report: FuzzReport) {
  return { ...report, failures: report.failures.map(failure => ({ ...failure, replay: replayCommand(failure) })) }
}

const interruption = new AbortController()
process.once('SIGINT', () => interruption.abort('SIGINT'))
const { stdout, stderr, env } = process
const terminal = new Terminal({ stdout, stderr, env, signal: interruption.signal })
try {
  process.exitCode = await main(process.argv.slice(2), terminal)
} catch (error) {
  terminal.fail(error instanceof UsageError ? `fuzz: ${describeError(error)}` : `fuzz: ${(error as Error).stack}`)
  process.exitCode = error instanceof UsageError ? 2 : 1
}
