/** Servers that join and leave while everything runs, one after the other, as the documentation asks for. */
import { ConfigurationError } from '../../core/errors.js'
import type { Fault } from './schedule.js'
import type { SimWorld } from './sim-world.js'

type Change = Extract<Fault, { name: 'join' | 'leave' }>

/** Between one router hearing of it and the next. */
const BETWEEN_MS = 15

/** A server joins for a while, or leaves for a while. Only when no other change is under way; never rejects. */
export async function changeMembers(
  change: Change,
  node: string | undefined,
  world: SimWorld,
  happens: (...about: readonly string[]) => void,
): Promise<void> {
  if (world.changingMembers || (world.physical !== undefined && world.physical.primary === undefined)) return
  world.changingMembers = true
  try {
    if (change.name === 'join') await joinAndLeave(change, world, happens)
    else if (node !== undefined) await leaveAndJoin(node, change.ms, world, happens)
  } finally {
    world.changingMembers = false
  }
}

async function joinAndLeave(
  { applyDelayMs, ms }: Extract<Change, { name: 'join' }>,
  world: SimWorld,
  happens: (...about: readonly string[]) => void,
): Promise<void> {
  const { cluster, simulation } = world
  const id = `db-${cluster.ids.length + 1}`
  happens(id)
  const spec = { id, region: world.plan.nodes[0]!.region }
  if (cluster.topology === 'leaderless') cluster.addServer(spec)
  else cluster.addServer(spec)
  cluster.delayReplay(id, applyDelayMs)
  world.members.push(id)
  if (!(await everywhere(world, router => router.addNode(id)))) {
    world.members.splice(world.members.indexOf(id), 1)
    return conform(world)
  }
  await simulation.sleep(ms)
  await leave(id, world)
}

async function leaveAndJoin(
  id: string,
  ms: number,
  world: SimWorld,
  happens: (...about: readonly string[]) => void,
): Promise<void> {
  happens(id)
  if (!(await leave(id, world))) return
  await world.simulation.sleep(ms)
  world.members.push(id)
  if (!(await everywhere(world, router => router.addNode(id)))) world.members.splice(world.members.indexOf(id), 1)
}

/** Whether all routers have let it go; it may have become the primary, or be needed for a quorum. */
async function leave(id: string, world: SimWorld): Promise<boolean> {
  if (world.physical?.server(id).recovering === false) return false
  world.members.splice(world.members.indexOf(id), 1)
  if (world.leaderless !== undefined) world.departed.add(id)
  if (await everywhere(world, router => router.removeNode(id))) return true
  world.members.push(id)
  await conform(world)
  return false
}

/** Every router knows again whom it is to know. */
async function conform(world: SimWorld): Promise<void> {
  for (const router of world.routers) await router.conform()
}

/** Whether all routers have done it, one after the other; ends with the first that refuses. */
async function everywhere(world: SimWorld, change: (router: SimWorld['routers'][number]) => Promise<void>): Promise<boolean> {
  for (const router of world.routers) {
    try {
      await change(router)
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error
      world.note(`${router.id} refuses: ${error.message}`)
      world.tally.add('membership change refused')
      return false
    }
    await world.simulation.sleep(BETWEEN_MS)
  }
  return true
}
