/** Draws everything that happens: what devices ask for, and what breaks when. */
import { drawFaults } from './draw-faults.js'
import { drawSituations } from './draw-situations.js'
import { drawWorld } from './draw-world.js'
import { FINAL_ROUNDS } from './final-rounds.js'
import { Random } from './random.js'
import type { ActionPlan, DevicePlan, Fate, RequestStep, Schedule, Step, World } from './schedule.js'
import { drawLadder } from './strategies.js'

/** Quiet before the first fault, so that there is something to lose; and after the last request. */
const QUIET_MS = 200
/** At least `ops` actions, those that never arrive included. The same seed and number give the same schedule, on any machine. */
export function drawSchedule(seed: number, ops: number): Schedule {
  const random = new Random(Math.imul(seed, 0x9e3779b1))
  const world = drawWorld(random)
  const requests = new RequestDrawer(random, world).draw(ops - FINAL_ROUNDS * world.devices.length)
  const endMs = requests.reduce((last, { at }) => Math.max(last, at), 0) + QUIET_MS
  const drawn: Step[] = [...requests, ...drawFaults(random, world, QUIET_MS, endMs)]
  const { steps, ...more } = drawSituations(new Random(Math.imul(seed, 0x85ebca6b)), world, drawn)
  return { seed, ...more, steps: steps.sort((a, b) => a.at - b.at), endMs }
}

/** What devices do comes in episodes: somebody writes, and looks; from the same place, from another, at once or later. */
class RequestDrawer {
  readonly #random: Random
  readonly #world: World
  readonly #steps: RequestStep[] = []
  #actions = 0
  #now = 0

  constructor(random: Random, world: World) {
    this.#random = random
    this.#world = world
  }

  draw(ops: number): RequestStep[] {
    const random = this.#random
    while (this.#actions < ops) {
      this.#now += random.around(25)
      const device = random.pick(this.#world.devices)
      const keys = random.some(this.#world.keys, random.chance(0.7) ? 1 : random.int(2, 3))
      switch (random.weighted({ writeAndLook: 50, look: 15, race: 15, within: 15, cached: 5 })) {
        case 'writeAndLook':
          this.#request(device, this.#now, [this.#write(keys)])
          this.#look(device, this.#now, keys)
          break
        case 'look':
          this.#look(device, this.#now, keys)
          break
        case 'race':
          for (let i = random.int(2, 3); i > 0; i--) {
            const action = random.chance(0.6) ? this.#write(random.some(this.#world.keys, 1)) : this.#read(keys)
            this.#request(device, this.#now + random.int(0, 5), [action], true)
          }
          this.#look(device, this.#now + 10, keys)
          break
        case 'within':
          this.#request(device, this.#now, [
            this.#write(keys),
            this.#read(keys),
            ...(random.chance(0.3) ? [this.#write(keys)] : []),
          ])
          break
        case 'cached':
          this.#request(device, this.#now, [this.#action('cached', keys.slice(0, 1))])
          break
      }
    }
    return this.#steps
  }

  /** One to three requests that read, from this device or another one of the same user. */
  #look(device: DevicePlan, from: number, keys: readonly string[]): void {
    const random = this.#random
    let at = from
    for (let i = random.int(1, 3); i > 0; i--) {
      at += random.chance(0.7) ? random.int(0, 8) : random.around(120)
      const others = this.#world.devices.filter(({ user }) => user !== undefined && user === device.user)
      const reader = random.chance(0.75) || others.length === 0 ? device : random.pick(others)
      const first = random.chance(0.08) ? this.#action('cached', keys.slice(0, 1)) : this.#read(keys)
      this.#request(
        reader,
        at,
        random.chance(0.5) ? [first] : [first, this.#read(random.some(this.#world.keys, 2)), this.#read(keys)],
      )
    }
  }

  #request(device: DevicePlan, at: number, actions: readonly ActionPlan[], parallel = false): void {
    const random = this.#random
    this.#actions += actions.length
    this.#steps.push({
      kind: 'request',
      at,
      device: device.id,
      newDevice: false,
      router: random.int(0, this.#world.routers.length - 1),
      // Several actions go by the application's own order, which nobody else of the same device is in.
      parallel: parallel && actions.length === 1,
      actions,
      requestMs: random.int(0, 2),
      responseMs: random.chance(0.9) ? random.int(0, 3) : random.around(60),
      fate: random.weighted<Fate>({ delivered: 92, 'request-lost': 1, 'response-lost': 4, 'response-doubled': 3 }),
      forged: random.chance(0.02) ? random.pick(['altered', 'cut', 'of-another-user'] as const) : undefined,
    })
  }

  #write(keys: readonly string[]): ActionPlan {
    return this.#action(this.#random.chance(keys.length > 1 ? 0.5 : 0.15) ? 'transaction' : 'write', keys)
  }

  #read(keys: readonly string[]): ActionPlan {
    return this.#action(this.#random.chance(0.1) ? 'snapshot' : 'read', keys)
  }

  #action(action: ActionPlan['action'], keys: readonly string[]): ActionPlan {
    const random = this.#random
    return {
      action,
      keys,
      scoped: random.chance(0.3),
      cache: keys.length === 1 && random.chance(0.3),
      asyncCommit: this.#world.asyncCommit && random.chance(0.6),
      withNext: false,
      ladder: action === 'read' && random.chance(0.15) ? drawLadder(random, this.#world.quorums) : undefined,
      abortMs: action !== 'cached' && random.chance(0.04) ? random.pick([1, 20, 200]) : undefined,
    }
  }
}
