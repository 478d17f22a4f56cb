import { EXIT } from '../../cli/command.js'
import { UsageError } from '../../cli/errors.js'
import type { Terminal } from '../../cli/terminal.js'
import { drawSchedule } from './draw-schedule.js'
import { parseIndices } from './index-list.js'
import type { ReplaySettings } from './options.js'
import { playSchedule } from './play-schedule.js'
import { historyLines, printViolations } from './print-history.js'
import { only } from './shrink-seed.js'

/** Plays one seed, or a part of it, and prints its history: as JSON Lines for other tools, or to be read. */
export async function replaySeed({ seed, ops, keep, json }: ReplaySettings, terminal: Terminal): Promise<number> {
  const schedule = drawSchedule(seed, ops)
  const last = schedule.steps.length - 1
  const kept = keep === undefined ? undefined : parseIndices(keep, last)
  if (keep !== undefined && kept === undefined) {
    throw new UsageError(`--keep must be a list of steps from 0 to ${last} like 0-3,17, not '${keep}'`)
  }
  const played = await playSchedule(kept === undefined ? schedule : only(schedule, kept))
  if (json) terminal.print(...played.records.map(record => JSON.stringify(record)))
  else {
    terminal.print(`seed ${seed}: ${schedule.world.summary}`, ...historyLines(played))
    printViolations(played.violations, terminal)
    terminal.print(`${played.operations} operations, ${played.violations.length} violations`)
  }
  return played.violations.length === 0 ? EXIT.OK : EXIT.FAILED
}
