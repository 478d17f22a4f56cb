import { playSchedule } from './play-schedule.js'
import type { Schedule } from './schedule.js'
import type { SeedReport } from './seed-report.js'

/** Plays the schedule of one seed and judges what came of it. The same seed gives the same report, anywhere. */
export async function playSeed(schedule: Schedule): Promise<SeedReport> {
  const { violations, coverage, operations } = await playSchedule(schedule)
  return { seed: schedule.seed, ops: operations, violations, coverage }
}
