/** Plays a schedule on virtual time and judges what came of it. */
import type { HistoryRecord } from '../../testing/history/record.js'
import { applyFault } from './faults.js'
import { finalReads } from './final-reads.js'
import { judgeWorld } from './judge-world.js'
import { observeEvents } from './observe-events.js'
import { request } from './requests.js'
import { mendAll } from './roles.js'
import type { Schedule } from './schedule.js'
import type { Coverage, Violation } from './seed-report.js'
import { SimWorld, type WorldEvent } from './sim-world.js'

export interface Played {
  /** The history, as the checker was given it. */
  readonly records: readonly HistoryRecord[]
  /** Faults and what came of them, for people. */
  readonly events: readonly WorldEvent[]
  readonly violations: readonly Violation[]
  readonly coverage: Coverage
  readonly operations: number
}

/** The same schedule gives the same history, byte for byte. One at a time in a process: it listens to the core's events. */
export async function playSchedule(schedule: Schedule): Promise<Played> {
  const world = new SimWorld(schedule)
  const ignore = observeEvents(world)
  try {
    await play(schedule, world)
    const records = await judgeWorld(world)
    return {
      records,
      events: world.events,
      violations: world.violations.all,
      coverage: world.tally.coverage,
      operations: world.recorder.noted.length + world.unserved,
    }
  } finally {
    ignore()
  }
}

/** Beyond every deadline of all that a device may have yet to send, one after the other: who has not been answered by then never is. */
const OVERTIME_MS = 600_000
/** A message's way to the furthest server, many times over. */
const CLOSING_MS = 1_000

async function play({ steps, endMs }: Schedule, world: SimWorld): Promise<void> {
  const { simulation, violations } = world
  let open = 0
  const begin = (work: Promise<unknown>) => {
    open++
    void work
      .catch((error: unknown) => violations.add('everything-ends', `the simulator's own work failed: ${String(error)}`))
      .finally(() => open--)
  }
  const finish = async (isDone: () => boolean) => {
    await simulation.run({ until: simulation.now() + OVERTIME_MS, isDone })
    if (!isDone())
      violations.add('everything-ends', `${open} requests were not answered within ${OVERTIME_MS} ms after all was mended`)
  }
  begin(Promise.all(world.routers.map(router => router.start())))
  await finish(() => open === 0)
  const startedAt = simulation.now()
  for (const step of steps) {
    simulation.at(startedAt + step.at, () => {
      if (step.kind === 'request') begin(request(step, world))
      else begin(applyFault(step.fault, world))
    })
  }
  await simulation.run({ until: startedAt + endMs })
  await finish(() => open === 0)
  mendAll(world)
  begin(finalReads(world))
  await finish(() => open === 0)
  for (const { id, leftovers } of world.routers) {
    if (leftovers.length > 0) violations.add('everything-ends', `at rest ${id} still has ${leftovers.join(', ')}`)
  }
  begin(Promise.all(world.routers.map(router => router.stop())))
  await finish(() => open === 0)
  await simulation.run({ until: simulation.now() + CLOSING_MS })
  for (const id of world.cluster.ids) {
    const { size } = world.cluster.server(id).backends
    if (size > 0) violations.add('everything-ends', `${size} connections to ${id} are left although every router has closed`)
  }
}
