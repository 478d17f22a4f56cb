/**
 * Messages between processes. A link leads from one process to another, each way by itself: it delays, stalls while it is cut,
 * and may break connections. A channel is one direction of one connection: what is sent on it arrives in order or not at
 * all, as TCP has it. Links and channels overtake one another freely.
 */
import type { Random } from './random.js'
import type { Simulation } from './simulation.js'

export interface LinkDelay {
  /** The least time from one end to the other, in ms. */
  readonly delayMs: number
  /** Each message takes up to this many ms more, uniformly. */
  readonly jitterMs: number
}

export class Link {
  readonly from: string
  readonly to: string
  readonly random: Random
  delay: LinkDelay
  /** Added to every message while it lasts (a fault). */
  extraMs = 0
  /** The chance that a message breaks its connection instead of arriving. */
  breakChance = 0
  cut = false
  /** Channels that hold back messages, in the order in which they began to. */
  readonly stalled: Channel[] = []

  constructor(from: string, to: string, delay: LinkDelay, random: Random) {
    this.from = from
    this.to = to
    this.delay = delay
    this.random = random
  }
}

/** One direction of one connection. */
export class Channel {
  readonly #simulation: Simulation
  readonly #link: Link
  readonly #onBreak: () => void
  #lastArrival = 0
  #open = true
  /** What has arrived while the link was cut. */
  readonly #held: (() => void)[] = []

  constructor(simulation: Simulation, link: Link, onBreak: () => void) {
    this.#simulation = simulation
    this.#link = link
    this.#onBreak = onBreak
  }

  /** `arrive` runs at the other end, `afterMs` and the link's delay from now; never when the channel is closed by then. */
  send(arrive: () => void, afterMs = 0): void {
    if (!this.#open) return
    const { delay, extraMs, random } = this.#link
    const at = this.#simulation.now() + afterMs + delay.delayMs + extraMs + random.next() * delay.jitterMs
    this.#lastArrival = Math.max(this.#lastArrival, at)
    this.#simulation.at(this.#lastArrival, () => this.#arrived(arrive))
  }

  /** What is under way is lost. */
  close(): void {
    this.#open = false
    this.#held.length = 0
  }

  /** The link is whole again: what was held back arrives, in order. */
  resume(): void {
    if (!this.#open) return
    if (this.#link.cut) {
      this.#link.stalled.push(this)
      return
    }
    this.#held.shift()?.()
    if (this.#held.length > 0) this.#simulation.after(0, () => this.resume())
  }

  #arrived(arrive: () => void): void {
    if (!this.#open) return
    if (this.#held.length > 0) this.#held.push(arrive)
    else if (this.#link.cut) {
      this.#held.push(arrive)
      this.#link.stalled.push(this)
    } else if (this.#link.random.chance(this.#link.breakChance)) this.#onBreak()
    else arrive()
  }
}

export interface NetworkOptions {
  /** Within a region. Default 0.2 to 0.5 ms. */
  readonly local?: LinkDelay
  /** Between regions. Default 20 to 30 ms. */
  readonly remote?: LinkDelay
}

export class Network {
  readonly #simulation: Simulation
  readonly #regionOf: (process: string) => string | undefined
  readonly #local: LinkDelay
  readonly #remote: LinkDelay
  readonly #links = new Map<string, Map<string, Link>>()

  constructor(simulation: Simulation, regionOf: (process: string) => string | undefined, options: NetworkOptions = {}) {
    this.#simulation = simulation
    this.#regionOf = regionOf
    this.#local = options.local ?? { delayMs: 0.2, jitterMs: 0.3 }
    this.#remote = options.remote ?? { delayMs: 20, jitterMs: 10 }
  }

  link(from: string, to: string): Link {
    let links = this.#links.get(from)
    if (links === undefined) {
      links = new Map()
      this.#links.set(from, links)
    }
    let link = links.get(to)
    if (link === undefined) {
      const delay = this.#regionOf(from) === this.#regionOf(to) ? this.#local : this.#remote
      link = new Link(from, to, delay, this.#simulation.random(`link ${from}>${to}`))
      links.set(to, link)
    }
    return link
  }

  channel(from: string, to: string, onBreak: () => void): Channel {
    return new Channel(this.#simulation, this.link(from, to), onBreak)
  }

  cut(from: string, to: string): void {
    this.link(from, to).cut = true
  }

  heal(from: string, to: string): void {
    const link = this.link(from, to)
    link.cut = false
    for (const channel of link.stalled.splice(0)) this.#simulation.after(0, () => channel.resume())
  }
}
