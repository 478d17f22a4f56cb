/** When all is whole again and at rest: every device looks a last time, and what must be possible then is tried. */
import { FINAL_ROUNDS } from './final-rounds.js'
import { OWN_RULES } from './own-rules.js'
import { request } from './requests.js'
import { MAX_CONNECTIONS } from './router-process.js'
import type { ActionPlan, RequestStep } from './schedule.js'
import type { SimWorld } from './sim-world.js'

/** Enough for every router to have asked every node at its slowest pace, on the slowest clock, and then some. */
const REST_MS = 2_500

export async function finalReads(world: SimWorld): Promise<void> {
  const primary = world.physical?.primary
  if (primary !== undefined) world.losses.fill(primary)
  await world.simulation.sleep(REST_MS)
  const routers = world.routers.length
  for (let round = 0; round < FINAL_ROUNDS; round++) {
    for (const [i, device] of [...world.devices.keys()].entries()) {
      const look = () => request(readOfAll(world, device, (i + round) % routers, round > 1), world)
      if (round < FINAL_ROUNDS - 1) await look()
      else await judgeRest(look, world)
    }
  }
}

/**
 * A fence that does not open although all replicas have everything would never open. That a connection is broken may be found out
 * only by whoever uses it, who is then served elsewhere: so whoever is looks again, once more than there are connections.
 */
async function judgeRest(look: () => Promise<void>, { recorder, simulation, violations }: SimWorld): Promise<void> {
  for (let left = MAX_CONNECTIONS; ; left--) {
    const index = recorder.noted.length
    await look()
    const read = recorder.noted[index]
    if (read === undefined || (read.status === 'ok' && read.path === 'replica')) return
    if (left > 0) await simulation.sleep(REST_MS)
    else {
      const came = read.status === 'ok' ? `was served by ${read.path}` : `failed with ${read.error}`
      violations.add('fences-open', `${OWN_RULES['fences-open']}; but operation ${read.id} of ${read.session} ${came}`, [read.id])
      return
    }
  }
}

function readOfAll({ plan }: SimWorld, device: string, router: number, fromReplica: boolean): RequestStep {
  const action: ActionPlan = {
    action: 'read',
    keys: plan.keys,
    scoped: false,
    cache: false,
    asyncCommit: false,
    withNext: false,
    ladder: fromReplica
      ? [
          { rung: 'replica', own: false },
          { rung: 'primary', maxInFlight: 64 },
        ]
      : undefined,
    abortMs: undefined,
  }
  return {
    kind: 'request',
    at: 0,
    device,
    newDevice: false,
    router,
    parallel: false,
    actions: [action],
    requestMs: 0,
    responseMs: 0,
    fate: 'delivered',
    forged: undefined,
  }
}
