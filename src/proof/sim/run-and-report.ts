import { EXIT } from '../../cli/command.js'
import type { Terminal } from '../../cli/terminal.js'
import { neverHappened } from './expected-coverage.js'
import type { RunSettings } from './options.js'
import { historyLines, printViolations } from './print-history.js'
import { type RunReport, runSeeds } from './run-seeds.js'
import type { SeedReport } from './seed-report.js'
import { shrinkSeed } from './shrink-seed.js'

/** After this many failing seeds the run ends: more of them say nothing new. */
const MAX_FAILURES = 20
/** So many are shrunk and printed, each for at most so long. */
const EXPLAINED = 3
const SHRINK_MS = 20_000
/** A run of fewer seeds may well miss something that is rare. */
const COVERAGE_SEEDS = 1_000

/** Plays the seeds and prints what came of them; fails when a rule was broken, or when something that is to be tested never happened. */
export async function runAndReport(settings: RunSettings, terminal: Terminal): Promise<number> {
  const { seeds, from, ops, jobs, json } = settings
  const startedAt = performance.now()
  const report = await runSeeds({
    seeds,
    from,
    ops,
    jobs,
    maxFailures: MAX_FAILURES,
    signal: terminal.signal,
    onProgress: (played, failed) => {
      if (!json) terminal.progress(`${bar(played / seeds)} ${played} of ${seeds} seeds${failed > 0 ? `, ${failed} failed` : ''}`)
    },
  })
  const seconds = Math.round((performance.now() - startedAt) / 100) / 10
  const never = seeds >= COVERAGE_SEEDS && report.failures.length === 0 ? neverHappened(report.coverage) : []
  if (json) printJson(report, seconds, never, terminal)
  else {
    for (const [what, times] of Object.entries(report.coverage)) terminal.print(`${String(times).padStart(12)}  ${what}`)
    terminal.print(`${report.seeds} seeds, ${report.ops} operations, ${countOf(report)} violations, ${seconds} s`)
  }
  for (const what of never) terminal.fail(`never happened, so nothing was proven of it: ${what}`)
  for (const failure of report.failures.slice(0, EXPLAINED)) await explain(failure, ops, json, terminal)
  return report.failures.length === 0 && never.length === 0 ? EXIT.OK : EXIT.FAILED
}

function printJson(
  { seeds, ops, failures, coverage }: RunReport,
  seconds: number,
  never: readonly string[],
  terminal: Terminal,
): void {
  const failed = failures.map(({ seed, violations }) => ({ seed, rules: [...new Set(violations.map(({ rule }) => rule))] }))
  const violations = failures.reduce((sum, failure) => sum + failure.violations.length, 0)
  terminal.print(JSON.stringify({ seeds, ops, violations, seconds, failed, never, coverage }))
}

function countOf({ failures }: RunReport): number {
  return failures.reduce((sum, { violations }) => sum + violations.length, 0)
}

/** The shrunk history, the rule in words, and the command that plays exactly it; on stderr where stdout is for JSON. */
async function explain({ seed, violations }: SeedReport, ops: number, json: boolean, terminal: Terminal): Promise<void> {
  const [first] = violations
  if (first === undefined) return
  const until = performance.now() + SHRINK_MS
  if (!json) terminal.progress(`shrinking seed ${seed}`)
  const { played, keep } = await shrinkSeed(seed, ops, first.rule, () => performance.now() > until || terminal.signal.aborted)
  const command = `npm run sim -- --seed ${seed} --ops ${ops} --keep ${keep}`
  if (json) {
    terminal.warn(`seed ${seed} broke ${first.rule}: ${first.words}\nto replay: ${command}`)
    return
  }
  terminal.print('', terminal.paint('bold', `seed ${seed}, shrunk:`), ...historyLines(played))
  printViolations(played.violations, terminal)
  terminal.print(`to replay: ${command}`)
}

const BAR_WIDTH = 30

function bar(share: number): string {
  const full = Math.round(share * BAR_WIDTH)
  return `[${'='.repeat(full)}${' '.repeat(BAR_WIDTH - full)}]`
}
