import { drawSchedule } from './draw-schedule.js'
import { playSchedule } from './play-schedule.js'
import type { SeedReport } from './seed-report.js'

/** Draws the schedule of one seed, plays it, and judges what came of it. The same seed gives the same report, anywhere. */
export async function playSeed(seed: number, ops: number): Promise<SeedReport> {
  const { violations, coverage, operations } = await playSchedule(drawSchedule(seed, ops))
  return { seed, ops: operations, violations, coverage }
}
