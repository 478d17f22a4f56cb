/** `npm run chaos`: see docs/chaos.md. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { parse, refusePositionals, wholeNumber } from '../../cli/command.js'
import { describeError, UsageError } from '../../cli/errors.js'
import { duration } from '../../cli/format.js'
import { Terminal } from '../../cli/terminal.js'
import { writeHistory } from '../../testing/index.js'
import { FLAWS } from './application.js'
import { DEADLINE_MS } from './protocol.js'
import { describe, describeViolations } from './report.js'
import { type ChaosOptions, runChaos } from './run-chaos.js'
import { FAULT_KINDS } from './schedule.js'
import type { Trace } from './trace.js'
import { holds, judge, missing } from './verdict.js'

const HELP = `An HTTP application on Tidemark over a real cluster, under load and under faults; the history is checked at the end.

Usage: npm run chaos -- [options]

Options:
  --minutes <n>    How long faults are injected (default 5; fractions are fine)
  --rounds <n>     This many rounds of faults instead, however long they take
  --seed <n>       Decides which faults come when, and on whom (default 1)
  --faults <list>  Only these kinds, with commas: ${FAULT_KINDS.slice(0, 6).join(', ')},
                   ${FAULT_KINDS.slice(6).join(', ')}
  --flaw <name>    Builds the application wrongly, to see the run fail: ${FLAWS.join(', ')}
  --json           Print the result as one JSON object
  -h, --help       Show this

Exit codes: 0 all holds, 1 it does not, 2 nothing is proven: not every kind of fault has happened, or the command line was not understood.`

const EXIT = { OK: 0, FAILED: 1, NOT_PROVEN: 2 }

interface Settings extends ChaosOptions {
  readonly json: boolean
}

/** Throws {@link UsageError}. */
function settingsOf(args: readonly string[]): Settings {
  const { values, positionals } = parse(args, {
    minutes: { type: 'string', default: '5' },
    rounds: { type: 'string' },
    seed: { type: 'string' },
    faults: { type: 'string' },
    flaw: { type: 'string' },
    json: { type: 'boolean', default: false },
  })
  refusePositionals(positionals)
  const minutes = /^\d{1,4}(\.\d{1,4})?$/.test(values.minutes) ? Number(values.minutes) : Number.NaN
  if (!(minutes > 0)) throw new UsageError(`--minutes must be a number above 0, not '${values.minutes}'`)
  return {
    length:
      values.rounds === undefined
        ? { ms: minutes * 60_000 }
        : { rounds: wholeNumber('--rounds', values.rounds, 1, 1, 1_000_000) },
    seed: wholeNumber('--seed', values.seed, 1, 0, 2 ** 31),
    faults:
      values.faults === undefined ? FAULT_KINDS : values.faults.split(',').map(kind => oneOf('--faults', kind, FAULT_KINDS)),
    flaw: values.flaw === undefined ? undefined : oneOf('--flaw', values.flaw, FLAWS),
    json: values.json,
  }
}

function oneOf<T extends string>(option: string, value: string, known: readonly T[]): T {
  const found = known.find(each => each === value.trim())
  if (found === undefined) throw new UsageError(`${option}: there is no '${value}'; expected one of ${known.join(', ')}`)
  return found
}

async function run(settings: Settings, terminal: Terminal): Promise<number> {
  const chaos = await runChaos({
    ...settings,
    signal: terminal.signal,
    onProgress: ({ elapsedMs, operations, doing }) =>
      terminal.progress(`${duration(elapsedMs)}, ${operations} requests: ${doing}`),
  })
  terminal.progress('checking the history')
  const judged = await judge(chaos)
  const { verdict } = judged
  terminal.print(...(settings.json ? [JSON.stringify(verdict)] : describe(judged, DEADLINE_MS, terminal.paint)))
  if (!holds(verdict)) {
    if (settings.json) terminal.warn(describeViolations(judged).join('\n'))
    for (const path of await keep(chaos.trace, settings.seed)) terminal.fail(`the history is in ${path}`)
    return EXIT.FAILED
  }
  const absent = missing(verdict)
  if (absent.length === 0) return EXIT.OK
  terminal.warn(`not proven: there was not one fault of the kind ${absent.join(', ')}; let it run for longer`)
  return EXIT.NOT_PROVEN
}

/** For `checkHistory`: every device as a session, and every user. */
async function keep(trace: Trace, seed: number): Promise<string[]> {
  await mkdir('.tmp', { recursive: true })
  const [devices, users] = [join('.tmp', `chaos-${seed}.jsonl`), join('.tmp', `chaos-${seed}-users.jsonl`)]
  await writeHistory(devices, trace.byDevice())
  await writeHistory(users, trace.byUser())
  return [devices, users]
}

async function main(args: readonly string[], terminal: Terminal): Promise<number> {
  if (args.includes('--help') || args.includes('-h')) {
    terminal.print(HELP)
    return EXIT.OK
  }
  try {
    return await run(settingsOf(args), terminal)
  } catch (error) {
    terminal.fail(`chaos: ${describeError(error)}`)
    return error instanceof UsageError ? EXIT.NOT_PROVEN : EXIT.FAILED
  }
}

const interrupted = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => interrupted.abort(new Error(`ended by ${signal}`)))

const { stdout, stderr, env } = process
process.exitCode = await main(process.argv.slice(2), new Terminal({ stdout, stderr, env, signal: interrupted.signal }))
