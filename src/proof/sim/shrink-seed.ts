import { drawSchedule } from './draw-schedule.js'
import { formatIndices } from './index-list.js'
import { type Played, playSchedule } from './play-schedule.js'
import type { Schedule } from './schedule.js'
import { shrink } from './shrink.js'

export interface Shrunk {
  /** A play of nothing but the steps that are needed for the violation. */
  readonly played: Played
  /** Indices of those steps, as `--keep` takes them. */
  readonly keep: string
}

/**
 * The smallest part of a seed's schedule found in the time that still breaks `rule`. The world (servers, routers, users)
 * stays as the seed has drawn it; what is left out are things that clients and faults do.
 */
export async function shrinkSeed(seed: number, ops: number, rule: string, stop: () => boolean): Promise<Shrunk> {
  const schedule = drawSchedule(seed, ops)
  const all = schedule.steps.map((_, index) => index)
  const breaks = async (indices: readonly number[]) => {
    const { violations } = await playSchedule(only(schedule, indices))
    return violations.some(violation => violation.rule === rule)
  }
  const kept = await shrink(all, breaks, { stop })
  return { played: await playSchedule(only(schedule, kept)), keep: formatIndices(kept) }
}

/** The schedule with only these of its steps. */
export function only(schedule: Schedule, indices: readonly number[]): Schedule {
  return { ...schedule, steps: indices.map(index => schedule.steps[index]!) }
}
