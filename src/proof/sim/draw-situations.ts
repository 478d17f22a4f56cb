/**
 * Situations that chance hardly ever brings about by itself, and some defect shows in nothing else: put on top of what a seed has
 * drawn, by a generator of their own, so that the rest of it stays what it was.
 */
import type { Random } from './random.js'
import type { ActionPlan, Fault, FaultStep, RequestStep, Step, World } from './schedule.js'

/** The world and the steps, with such situations in them. Steps are in no order. */
export function drawSituations(random: Random, drawn: World, steps: readonly Step[]): { world: World; steps: Step[] } {
  const world: World = random.chance(0.15) ? { ...drawn, positionLagMs: LATE_POSITIONS_MS } : drawn
  const requests = steps.filter(step => step.kind === 'request')
  const faults = steps.filter(step => step.kind === 'fault')
  return {
    world,
    steps: [
      ...requests,
      ...requests.flatMap(step => looksOf(step, random, world)),
      ...faults.flatMap(step => worse(step, random, world, requests)),
    ],
  }
}

/** A host so busy that the replay position trails what readers see by so much. */
const LATE_POSITIONS_MS = 40

/** Who looks at once for what this request writes, besides the devices that were drawn. */
function looksOf(step: RequestStep, random: Random, world: World): Step[] {
  const written = step.actions.find(({ action }) => action === 'write' || action === 'transaction')
  if (written === undefined) return []
  const looks: Step[] = []
  const device = world.devices.find(({ id }) => id === step.device)!
  const look = {
    ...step,
    parallel: true,
    at: step.at + random.int(0, 40),
    router: random.below(world.routers.length),
    forged: undefined,
  }
  const read = plain('read', written.keys)
  // Where a store knows the user, no device is new.
  if (device.user !== undefined && world.store === undefined && random.chance(world.topology === 'physical' ? 0.1 : 0.3)) {
    if (random.chance(0.5)) looks.push({ ...look, newDevice: true, actions: [read] })
    else looks.push(...doubtWhileSettling({ ...look, at: look.at + SETTLED_MS }, written.keys, random, world))
  }
  const monotonic = world.devices.filter(({ guarantee }) => guarantee === 'monotonic-reads')
  if (world.positionLagMs === LATE_POSITIONS_MS && monotonic.length > 0 && random.chance(0.3)) {
    // From one that shows the write and does not say so yet, to one that has all but the write.
    looks.push({ kind: 'fault', at: step.at, fault: { name: 'pause-replay', target: random.int(0, 3), ms: 80 } })
    looks.push({ ...look, parallel: false, device: random.pick(monotonic).id, actions: [read, read, read] })
  }
  if (random.chance(0.03)) {
    // The answer to one write comes after the answer to the next, which a replica has not got by then.
    const write = atOnce(step, step.at, [plain('write', written.keys.slice(0, 1))])
    const delay: Fault = { name: 'delay-replay', target: random.int(0, 3), delayMs: 50, ms: 300 }
    looks.push(
      { ...write, responseMs: 60 },
      { ...write, requestMs: 25 },
      { ...write, at: step.at + 1, actions: [read], parallel: false },
    )
    looks.push({ kind: 'fault', at: step.at, fault: delay })
  }
  if (world.quorums && random.chance(0.3)) looks.push({ ...look, device: random.pick(world.devices).id, actions: [read] })
  return looks
}

/** By then most have what was written before. */
const SETTLED_MS = 40
/** About when a write that has arrived at its router is done, and its answer on the way. */
const DONE_MS = 3

/**
 * While a read settles what a new device is uncertain of, a write of the same session gives it a new doubt: when it is done, by one
 * that has told before where it was, and which others do not hear from; and is not answered yet.
 */
function doubtWhileSettling(like: RequestStep, keys: readonly string[], random: Random, world: World): Step[] {
  const { at, router, requestMs } = like
  const target = world.topology === 'physical' ? 'primary' : nearest(world, router, random.below(world.nodes.length))
  const faults: Fault[] = [{ name: 'cut-replication', target, ms: 80 }]
  // Every peer is asked where it is: by one that is slow to say, that takes longer than the write.
  if (target !== 'primary')
    faults.push({ name: 'slow-link', router, target: (target + 1) % world.nodes.length, delayMs: 5, ms: 80 })
  const read = plain('read', keys)
  return [
    ...faults.map(fault => ({ kind: 'fault' as const, at, fault })),
    { kind: 'fault', at: at + requestMs + DONE_MS, fault: { name: 'reset', router, target } },
    { ...like, newDevice: true, actions: [{ ...plain('write', keys), withNext: true }, read, read] },
  ]
}

/** The index of a peer that this router may write to: of several, the one that `which` falls on. */
function nearest({ nodes, routers }: World, router: number, which: number): number {
  const { region } = routers[router]!
  const near = [...nodes.keys()].filter(i => nodes[i]!.region === region)
  return near.length === 0 ? which : near[which % near.length]!
}

function plain(action: ActionPlan['action'], keys: readonly string[]): ActionPlan {
  return { action, keys, scoped: false, cache: false, asyncCommit: false, withNext: false, ladder: undefined, abortMs: undefined }
}

/** The fault, worse than it was drawn, and what makes it so. */
function worse(step: FaultStep, random: Random, world: World, requests: readonly RequestStep[]): Step[] {
  const { at, fault } = step
  const as = (worsened: Fault): FaultStep => ({ ...step, fault: worsened })
  // Whoever hears of a later stamp goes on from there, whatever its own clock says.
  if (fault.name === 'peer-clock-jump' && fault.restarts && random.chance(0.5))
    return [as({ ...fault, alone: true, ms: fault.ms * 3 })]
  if (fault.name === 'join' && random.chance(0.5)) return [as({ ...fault, applyDelayMs: random.pick([50, 400]) })]
  if (fault.name === 'failover' && world.nodes.length > 2 && random.chance(0.4)) {
    // Who is promoted lacks what others have applied: those cannot follow, and say of no history that they are in it.
    const behindMs = random.int(60, 200)
    const cut: Fault = { name: 'cut-replication', target: fault.promote[0]!, ms: behindMs + fault.afterMs + PROMOTED_MS }
    return [{ kind: 'fault', at: Math.max(0, at - behindMs), fault: cut }, as({ ...fault, ms: fault.ms + NOTICED_MS })]
  }
  if (fault.name === 'split' && world.routers.length > 1 && random.chance(0.4)) {
    const sees = random.below(world.routers.length)
    const worsened = { ...fault, cutRouters: world.routers.map((_, i) => i).filter(i => i !== sees), ms: fault.ms + NOTICED_MS }
    return [as(worsened), ...crossing(at, random.pick(requests), world)]
  }
  return [step]
}

/** Until a server that was told to has become the primary; and until most routers have found that out by themselves. */
const PROMOTED_MS = 5
const NOTICED_MS = 600

/** Somebody writes by one router after the other, and only some of them see that there is a new primary. */
function crossing(from: number, like: RequestStep, world: World): RequestStep[] {
  const actions = [plain('write', like.actions[0]!.keys.slice(0, 1))]
  return Array.from({ length: CROSSINGS }, (_, i) => ({
    ...atOnce(like, from + i * CROSSING_MS, actions),
    router: i % world.routers.length,
  }))
}

const CROSSINGS = 8
const CROSSING_MS = 80

/** A request of the same device by the same router, which waits for no other. */
function atOnce(like: RequestStep, at: number, actions: readonly ActionPlan[]): RequestStep {
  return {
    ...like,
    at,
    actions,
    newDevice: false,
    parallel: true,
    requestMs: 0,
    responseMs: 1,
    fate: 'delivered',
    forged: undefined,
  }
}
