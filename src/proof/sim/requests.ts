/** One request of a device: there, what the application does, and back, through a network that loses and doubles. */

import type { Position } from '../../core/position.js'
import { isMark, listItems, TOKEN_HEADER } from '../../http/carrier.js'
import type { HeaderReader } from '../../http/exchange.js'
import { act, type Overlooked } from './actions.js'
import type { Device } from './device.js'
import { forge } from './forged-token.js'
import { outOfReach } from './out-of-reach.js'
import type { Noted } from './recorder.js'
import type { RouterProcess, Running } from './router-process.js'
import type { RequestStep } from './schedule.js'
import type { SimWorld } from './sim-world.js'
import { ResponseHeaders } from './token-carrier.js'

/** When a doubled response comes again, after the first time. */
const AGAIN_MS = 70

/** Sends it when it is the device's turn. Never rejects; settles when the last that comes of it has come. */
export async function request(step: RequestStep, world: SimWorld): Promise<void> {
  const known = world.devices.get(step.device)!
  const device = step.newDevice ? world.newDeviceOf(known) : known
  await device.send(step.parallel, () => exchange(step, device, world))
}

async function exchange(step: RequestStep, device: Device, world: SimWorld): Promise<void> {
  const { simulation, tally } = world
  const sentAt = simulation.now()
  const forged = step.forged && forge(step.forged, world.tokensIssued, device.plan.user)
  const headers = device.carrier.request(forged)
  const tokenless = !carriesToken(headers)
  if (step.fate !== 'delivered') tally.add(`carrier ${step.fate}`)
  await simulation.sleep(step.requestMs)
  const router = world.routers[step.router]!
  const response = new ResponseHeaders()
  const answered: Noted[] = []
  if (step.fate !== 'request-lost' && router.running !== undefined) {
    const served = await serve(step, device, world, { headers, response, sentAt, tokenless, forged })
    answered.push(...served)
  } else world.unserved += step.actions.length
  // A report of a loss that is itself lost is told again only by what the client still carries, which is not what is tested.
  const lost = step.fate === 'response-lost' && !answered.some(({ reportsLoss }) => reportsLoss)
  if (lost) for (const noted of answered) forget(noted)
  await simulation.sleep(step.responseMs)
  if (lost) return
  device.carrier.receive(response)
  // What nothing of the same device can overtake was answered when the application had its answer.
  if (step.actions.length === 1) for (const noted of answered) if (noted.end !== undefined) noted.end = simulation.now()
  if (step.fate === 'response-doubled') simulation.after(AGAIN_MS, () => device.carrier.receive(response))
}

interface Arrived {
  readonly headers: HeaderReader
  readonly response: ResponseHeaders
  readonly sentAt: number
  readonly tokenless: boolean
  readonly forged: string | undefined
}

/** What the router's process does with it. */
async function serve(step: RequestStep, device: Device, world: SimWorld, arrived: Arrived): Promise<readonly Noted[]> {
  const { user, id, guarantee } = device.plan
  const router = world.routers[step.router]!
  const running = router.running!
  const { db, exchanges, cache } = running
  const refusals = world.refusals
  const { session, apply, finish } = exchanges[guarantee](arrived.headers, { user })
  if (arrived.forged !== undefined && step.forged !== undefined) {
    world.tally.add(`forged ${step.forged}`)
    if (world.refusals === refusals)
      world.violations.add('forged-tokens-refused', `a token that was ${step.forged} was accepted from ${id}`)
  }
  const { simulation, tally, invalidated } = world
  const context = {
    simulation,
    tally,
    invalidated,
    lives: world.lives,
    look: world.look,
    replicas: (needed: Position) => router.replicas(needed),
    session,
    cache,
    strategy: router.plan.strategy,
    travelMs: step.responseMs,
    watchNewest: (brought: Position) => watchNewest(brought, router, running, world),
  }
  const noted: Noted[] = []
  const underWay: Promise<void>[] = []
  let start = arrived.sentAt
  for (const plan of step.actions) {
    const each = world.recorder.begin({ session: world.sessionOf(device.plan), user, device: id, start, asked: guarantee })
    // Nothing tells somebody new which of two primaries is the right one.
    const isKnown = user !== undefined && world.plan.store === undefined && !world.rivalHistories
    if (arrived.tokenless && isKnown && start === arrived.sentAt) each.tokenless = true
    noted.push(each)
    const unreached = () => outOfReach(world, db.core.cluster.nodes)
    const { uncertain } = session.history
    const before = unreached()
    const done = act(plan, each, context)
    // What a server gets to only after the client was told is nothing that a read after that could be sure to show.
    underWay.push(
      done.then(() => {
        if (each.doubted) each.doubted = world.shows(each.writes)
        if (uncertain && !session.history.uncertain) each.settles = true
        const gone = [...before, ...unreached()]
        if (gone.length > 0) each.outOfReach = gone
      }),
    )
    if (plan.withNext) continue
    await Promise.all(underWay.splice(0))
    // What other devices of the user write meanwhile, a session that has begun need not know: the store was asked once.
    if (!world.joinsDevices || user === undefined) start = world.simulation.now()
  }
  await Promise.all(underWay)
  router.measure()
  apply(arrived.response)
  finish()
  world.issued(arrived.response, user)
  return noted
}

/**
 * From the beginning of a write: tells at its end whether the router has taken it to an old primary although it had heard of the
 * new one; or might have, from the session that brought its history, and did not ask.
 */
function watchNewest(brought: Position, router: RouterProcess, running: Running, world: SimWorld): Overlooked {
  const { newest } = world
  if (newest === undefined) return () => false
  const since = router.clock.now()
  const knew = router.knows(newest)
  const isBrought = brought.offsetIn(newest.lineage) !== undefined
  return writes => {
    const now = world.newest
    if (now?.lineage !== newest.lineage || now.life !== newest.life) return false
    // What the process that has taken over knows, this one need not know.
    if (router.running !== running) return false
    return (knew || (isBrought && router.overlooks(newest, since))) && world.lacks(newest.id, writes)
  }
}

/** The client never heard of it: a write may have been done, and a read obliges to nothing. */
function forget(noted: Noted): void {
  noted.status = noted.writes === undefined ? 'failed' : 'unknown'
  delete noted.end
  if (noted.reads !== undefined) noted.unheard = noted.reads
  delete noted.reads
  delete noted.deadlineMs
  noted.doubted = false
}

function carriesToken(headers: HeaderReader): boolean {
  const listed = listItems(headers.get(TOKEN_HEADER)).filter(text => !isMark(text))
  return listed.length > 0 || (headers.get('Cookie') ?? '') !== ''
}
