import type { DevicePlan } from './schedule.js'
import { type TokenCarrier, tokenCarrier } from './token-carrier.js'

/** One device: what it carries, and the order in which it sends. */
export class Device {
  readonly plan: DevicePlan
  readonly carrier: TokenCarrier
  /** Settles when all that it has sent has been answered. */
  #all: Promise<unknown> = Promise.resolve()
  /** Settles when the last request that nothing may overtake has been answered. */
  #alone: Promise<unknown> = Promise.resolve()

  constructor(plan: DevicePlan, random: () => number) {
    this.plan = plan
    this.carrier = tokenCarrier(plan.carrier, random)
  }

  /** Sends when it is its turn. `parallel`: without waiting for what is under way, unless that has to be alone. */
  send<T>(parallel: boolean, request: () => Promise<T>): Promise<T> {
    const answered = (parallel ? this.#alone : this.#all).then(request)
    if (parallel) this.#all = Promise.allSettled([this.#all, answered])
    // It was sent when all before it had been answered.
    else this.#all = this.#alone = answered.then(ignore, ignore)
    return answered
  }
}

function ignore(): void {}
