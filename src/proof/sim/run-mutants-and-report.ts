import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { EXIT } from '../../cli/command.js'
import { UsageError } from '../../cli/errors.js'
import { table } from '../../cli/table.js'
import type { Terminal } from '../../cli/terminal.js'
import { MUTANTS } from './mutants/index.js'
import { runMutants } from './mutants/run-mutants.js'
import type { MutantSettings } from './options.js'

/** Plays the mutants and prints which rule caught each; fails when one was not caught. */
export async function runMutantsAndReport(settings: MutantSettings, terminal: Terminal): Promise<number> {
  const { seeds, from, ops, jobs, only, json } = settings
  const chosen = only === undefined ? MUTANTS : MUTANTS.filter(({ name }) => only.split(',').includes(name))
  if (chosen.length === 0) {
    throw new UsageError(`there is no mutant '${only}'; there are ${MUTANTS.map(({ name }) => name).join(', ')}`)
  }
  const compiled = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
  let done = 0
  const reports = await runMutants(chosen, {
    compiled,
    temporary: join(dirname(compiled), '.tmp', 'mutants'),
    from,
    maxSeeds: seeds,
    ops,
    jobs,
    signal: terminal.signal,
    onReport: (report, seed) => {
      done++
      if (!json)
        terminal.progress(
          `${done} of ${chosen.length} mutants; ${report.name}: ${report.rule || 'not caught'}${seed === undefined ? '' : ` (seed ${seed})`}`,
        )
    },
  })
  const uncaught = reports.filter(({ caught }) => !caught)
  if (json) terminal.print(JSON.stringify({ mutants: reports }))
  else {
    const columns = [{ title: 'mutant' }, { title: 'caught by' }, { title: 'seeds', align: 'right' }] as const
    const rows = reports.map(({ name, rule, seeds: took }) => [name, rule || NOT_CAUGHT, String(took)])
    terminal.print(...table(columns, rows, terminal.paint))
    terminal.print(`${reports.length - uncaught.length} of ${reports.length} mutants caught`)
  }
  return uncaught.length === 0 ? EXIT.OK : EXIT.FAILED
}

const NOT_CAUGHT = { text: 'NOT CAUGHT', style: 'red' } as const
