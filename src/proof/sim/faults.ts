/**
 * What breaks, done to the simulated cluster, and mended again. Faults overlap as they come; so each mends only what is still
 * as it has left it.
 */
import type { SimulatedCluster } from '../../engines/simulated/cluster.js'
import type { ServerProcess } from '../../engines/simulated/server-process.js'
import { changeMembers } from './membership.js'
import { tidyRoles } from './roles.js'
import type { Fault, Target } from './schedule.js'
import type { SimWorld } from './sim-world.js'

/** Settles when it has been mended. Never rejects. A fault that finds nobody to hit does nothing. */
export async function applyFault(fault: Fault, world: SimWorld): Promise<void> {
  const { cluster, simulation } = world
  const node = 'target' in fault ? nodeOf(fault.target, world) : undefined
  if ('target' in fault && node === undefined) return
  const router = 'router' in fault ? world.routers[fault.router]! : undefined
  const happens = (...about: readonly (string | number | undefined)[]) => {
    world.tally.add(`fault ${fault.name}`)
    world.note([fault.name, ...about].filter(each => each !== undefined).join(' '))
  }
  /** Begins, lasts, and ends. */
  const lasts = async (ms: number, begin: () => void, end: () => void) => {
    happens(router?.id, node, `for ${ms} ms`)
    begin()
    await simulation.sleep(ms)
    end()
  }
  switch (fault.name) {
    case 'crash':
      happens(node, `for ${fault.ms} ms`)
      return crash(node!, fault, world)
    case 'freeze':
      return lasts(
        fault.ms,
        () => cluster.freeze(node!),
        () => cluster.thaw(node!),
      )
    case 'cut':
      return lasts(
        fault.ms,
        () => cluster.cut(node!, router!.id, fault),
        () => cluster.heal(node!, router!.id),
      )
    case 'cut-replication':
      return lasts(
        fault.ms,
        () => eachOther(node!, world, id => cluster.cut(node!, id)),
        () => eachOther(node!, world, id => cluster.heal(node!, id)),
      )
    case 'slow-link':
      return lasts(
        fault.ms,
        () => cluster.delay(node!, router!.id, fault.delayMs),
        () => cluster.delay(node!, router!.id, 0),
      )
    case 'slow-replication':
      return lasts(
        fault.ms,
        () => eachOther(node!, world, id => cluster.delay(node!, id, fault.delayMs)),
        () => eachOther(node!, world, id => cluster.delay(node!, id, 0)),
      )
    case 'delay-replay':
      return lasts(
        fault.ms,
        () => cluster.delayReplay(node!, fault.delayMs),
        () => cluster.delayReplay(node!, 0),
      )
    case 'pause-replay':
      return lasts(
        fault.ms,
        () => cluster.pauseReplay(node!),
        () => cluster.resumeReplay(node!),
      )
    case 'lose-answers':
      return lasts(
        fault.ms,
        () => cluster.unreliable(node!, router!.id, fault.chance),
        () => cluster.unreliable(node!, router!.id, 0),
      )
    case 'reset':
      happens(router!.id, node)
      return cluster.reset(router!.id, node!)
    case 'rebuild':
      return rebuild(node!, fault, world, happens)
    case 'failover':
      return failover(fault, world, happens)
    case 'split':
      return split(fault, world, happens)
    case 'clock-jump':
      happens(router!.id, `by ${fault.byMs} ms`)
      return router!.clock.jumpWall(fault.byMs)
    case 'peer-clock-jump': {
      const { leaderless } = world
      const jump = () => {
        leaderless?.jumpClock(node!, fault.byMs)
        if (fault.alone) eachOther(node!, world, id => cluster.cut(node!, id))
        if (!fault.restarts) return
        world.kill(node!, 'stops')
        world.revive(node!)
      }
      const setRight = () => {
        leaderless?.jumpClock(node!, -fault.byMs)
        if (fault.alone) eachOther(node!, world, id => cluster.heal(node!, id))
      }
      return lasts(fault.ms, jump, setRight)
    }
    case 'clock-drift':
      return lasts(
        fault.ms,
        () => router!.clock.setRate(fault.rate),
        () => router!.clock.setRate(router!.plan.rate),
      )
    case 'join':
    case 'leave':
      return changeMembers(fault, node, world, happens)
    case 'store-fails':
      return lasts(
        fault.ms,
        () => {
          world.storeGets.trouble = fault.how
          // What is only slow to be stored is stored in time.
          if (world.plan.store?.fails === 'raises' || fault.how === 'slow') world.storeRaises.trouble = fault.how
        },
        () => {
          world.storeGets.trouble = world.storeRaises.trouble = undefined
        },
      )
    case 'cache-fails':
      if (fault.how === 'forgets') {
        happens('and forgets')
        return world.forgetCache()
      }
      return lasts(
        fault.ms,
        () => {
          world.cacheCalls.trouble = fault.how as 'fails' | 'hangs'
        },
        () => {
          world.cacheCalls.trouble = undefined
        },
      )
    case 'router-restart':
      happens(router!.id)
      return router!.restart()
  }
}

type Happens = (...about: readonly (string | number | undefined)[]) => void

async function crash(node: string, { how, behind, ms }: Extract<Fault, { name: 'crash' }>, world: SimWorld): Promise<void> {
  const { cluster, simulation } = world
  const server: ServerProcess = cluster.server(node)
  if (server.state !== 'running') return
  world.kill(node, how)
  const { life } = server
  await simulation.sleep(ms)
  if (server.life === life) world.revive(node, behind)
}

async function failover(fault: Extract<Fault, { name: 'failover' }>, world: SimWorld, happens: Happens): Promise<void> {
  const { physical: cluster, simulation } = world
  const old = cluster?.primary
  if (cluster === undefined || old === undefined || world.changingRoles) return
  world.changingRoles = true
  happens(old.id, 'dies')
  world.kill(old.id, 'loses power')
  const { life } = old
  await simulation.sleep(fault.afterMs)
  let promoted: string | undefined
  for (const target of fault.promote) {
    const id = nodeOf(target, world)
    if (id === undefined) continue
    world.note(`${id} is promoted`)
    cluster.promote(id)
    if (promoted !== undefined) world.rivalHistories = true
    promoted = id
  }
  if (promoted !== undefined) followAll(promoted, cluster)
  await simulation.sleep(fault.ms)
  if (old.life === life && fault.comesBack === 'as-primary') {
    world.note(`${old.id} comes back as it was`)
    world.rivalHistories = true
    world.revive(old.id)
    await simulation.sleep(fault.ms)
  }
  tidyRoles(world)
  world.changingRoles = false
}

async function split(fault: Extract<Fault, { name: 'split' }>, world: SimWorld, happens: Happens): Promise<void> {
  const { physical: cluster, simulation } = world
  const old = cluster?.primary
  const promoted = nodeOf(fault.promote, world)
  if (cluster === undefined || old === undefined || promoted === undefined || world.changingRoles) return
  world.changingRoles = true
  const blind = fault.cutRouters.map(index => world.routers[index]!.id)
  happens(promoted, 'is promoted while', old.id, 'goes on; unseen by', blind.join() || 'nobody')
  for (const router of blind) cluster.cut(router, promoted)
  cluster.promote(promoted)
  world.rivalHistories = true
  followAll(promoted, cluster, fault.loyal)
  await simulation.sleep(fault.ms)
  for (const router of blind) cluster.heal(router, promoted)
  await simulation.sleep(fault.ms)
  tidyRoles(world)
  world.changingRoles = false
}

/** Whom it hits now: of the standbys, the one that the number falls on. */
function nodeOf(target: Target, { physical, members }: SimWorld): string | undefined {
  if (target === 'primary') return physical === undefined ? members[0] : physical.primary?.id
  const standbys = members.filter(id => physical === undefined || physical.server(id).recovering)
  return standbys[target % standbys.length]
}

/** A standby from the primary's copy, a peer from its own. */
async function rebuild(
  node: string,
  fault: Extract<Fault, { name: 'rebuild' }>,
  world: SimWorld,
  happens: Happens,
): Promise<void> {
  const { cluster, physical, leaderless, simulation } = world
  const { ageMs, detached, ms } = fault
  const primary = physical?.primary
  if (physical !== undefined && (primary === undefined || primary.id === node)) return
  happens(node, `from a copy ${ageMs} ms old`)
  if (ms > 0 && !detached) cluster.pauseReplay(node)
  leaderless?.rebuild(node, { ageMs })
  physical?.rebuild(node, { ageMs, from: primary!.id })
  if (ms === 0) return
  if (detached) physical?.detach(node)
  await simulation.sleep(ms)
  cluster.resumeReplay(node)
  const upstream = physical?.primary?.id
  if (detached && upstream !== undefined && upstream !== node && physical!.server(node).recovering)
    physical!.follow(node, upstream)
}

/** All standbys, but for the loyal ones: the how-manieth of them stay where they are. */
function followAll(primary: string, cluster: SimulatedCluster, loyal: readonly number[] = []): void {
  const standbys = cluster.ids.filter(id => id !== primary && cluster.server(id).recovering)
  for (const [i, id] of standbys.entries()) if (!loyal.includes(i)) cluster.follow(id, primary)
}

function eachOther(node: string, { cluster }: SimWorld, act: (id: string) => void): void {
  for (const id of cluster.ids) if (id !== node) act(id)
}
