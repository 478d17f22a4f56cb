/** Everything that is there while a schedule is played. */
import { lineageOf } from '../../core/engine.js'
import { memoryTokenStore } from '../../core/token-store.js'
import { SimulatedCluster } from '../../engines/simulated/cluster.js'
import { SimulatedLeaderlessCluster } from '../../engines/simulated/leaderless-cluster.js'
import { Simulation } from '../../engines/simulated/simulation.js'
import { TOKEN_HEADER } from '../../http/carrier.js'
import type { GaugeRecord, WrittenValue } from '../../testing/history/record.js'
import type { ServerLook } from './actions.js'
import { Device } from './device.js'
import type { Tombstone } from './exclusions.js'
import { FillWatch } from './fill-watch.js'
import { Flakiness, ForgetfulCacheStore, flakyCacheStore, flakyTokenStore, SLOW_GET_MS } from './flaky-stores.js'
import type { IssuedToken } from './forged-token.js'
import { Violations } from './own-rules.js'
import { Recorder } from './recorder.js'
import { MAX_WAITING, type Newest, READERS, RouterProcess } from './router-process.js'
import type { Death, DevicePlan, Schedule, World } from './schedule.js'
import { Tally } from './seed-report.js'
import { SilentLosses } from './silent-losses.js'
import type { ResponseHeaders } from './token-carrier.js'

/** What happened besides operations, for people. */
export interface WorldEvent {
  readonly at: number
  readonly text: string
}

/** Tokens that forgeries are made of. */
const MAX_ISSUED = 16
/** What stores and caches keep: more than there are users and keys, and no more room than that. */
export const MAX_KEPT = 64
/**
 * Within a region. Slower than most: whoever waits asks at the pace of the round trip, and a world is to be spent on what clients do.
 * Nothing is lost by it, since time is virtual: races are as wide as the delays.
 */
const LOCAL = { delayMs: 0.5, jitterMs: 1.5 }
/** Nothing about them matters but that they are the same everywhere. */
const SECRET = 'the secret that all routers of a simulated world share'

export class SimWorld {
  readonly plan: World
  readonly simulation: Simulation
  readonly cluster: SimulatedCluster | SimulatedLeaderlessCluster
  /** It, if it is of the one kind, or of the other. */
  readonly physical: SimulatedCluster | undefined
  readonly leaderless: SimulatedLeaderlessCluster | undefined
  readonly routers: readonly RouterProcess[]
  readonly devices: ReadonlyMap<string, Device>
  readonly recorder = new Recorder()
  readonly tally = new Tally()
  readonly violations = new Violations()
  readonly events: WorldEvent[] = []
  readonly fills = new FillWatch()
  /** What the shared stores go through. */
  readonly storeGets: Flakiness
  readonly storeRaises: Flakiness
  readonly cacheCalls: Flakiness
  readonly tokensIssued: IssuedToken[] = []
  /** Operations of requests that never arrived, or found no process. */
  unserved = 0
  /** Tokens that routers have refused so far. */
  refusals = 0
  readonly losses = new SilentLosses()
  /** The servers that routers are to know. */
  readonly members: string[]
  changingMembers = false
  /** Peers of a leaderless cluster that have left, for a while at least. */
  readonly departed = new Set<string>()
  changingRoles = false
  /** Two servers have written at the same time. */
  rivalHistories = false
  readonly #forgetful: ForgetfulCacheStore
  readonly #newDevice: (plan: DevicePlan) => Device
  #newDevices = 0

  constructor({ seed, world }: Schedule) {
    this.plan = world
    this.simulation = new Simulation(seed)
    const sleep = (ms: number) => this.simulation.sleep(ms)
    this.storeGets = new Flakiness(sleep, SLOW_GET_MS)
    this.storeRaises = new Flakiness(sleep)
    this.cacheCalls = new Flakiness(sleep)
    const now = () => this.simulation.now()
    this.members = world.nodes.map(({ id }) => id)
    const times = { positionLagMs: [0, world.positionLagMs] as const }
    const servers = { servers: world.nodes, network: { local: LOCAL }, times }
    if (world.topology === 'physical') this.physical = new SimulatedCluster(this.simulation, servers)
    else this.leaderless = new SimulatedLeaderlessCluster(this.simulation, servers)
    this.cluster = (this.physical ?? this.leaderless)!
    this.cluster.balance(READERS, this.members.slice(1))
    const store = world.store && flakyTokenStore(memoryTokenStore({ now, maxUsers: MAX_KEPT }), this.storeGets, this.storeRaises)
    this.#forgetful = new ForgetfulCacheStore(now)
    const shared = { cluster: this.cluster, secret: SECRET, store, members: () => this.members, sleep }
    this.routers = world.routers.map((plan, i) => {
      const clock = this.simulation.clock(`router ${i + 1}`, { wallOffsetMs: plan.wallOffsetMs, rate: plan.rate })
      const watched = this.fills.watch(this.#forgetful, () => this.#tombstoneOf(this.routers[i]!))
      const cacheStore = flakyCacheStore(watched, this.cacheCalls)
      return new RouterProcess(`router-${i + 1}`, plan, clock, { ...shared, cacheStore })
    })
    const random = this.simulation.random('devices')
    this.#newDevice = plan => new Device(plan, () => random.next())
    this.devices = new Map(world.devices.map(plan => [plan.id, this.#newDevice(plan)]))
  }

  /** One that carries nothing, of the user of another. */
  newDeviceOf({ plan }: Device): Device {
    return this.#newDevice({ ...plan, id: `${plan.id}+${++this.#newDevices}` })
  }

  /** Whose causal history a device's operations belong to: the user's where a store joins the devices, the device's own elsewhere. */
  sessionOf({ id, user }: DevicePlan): string {
    return this.joinsDevices && user !== undefined ? user : id
  }

  /**
   * Exclusion: a router keeps positions that a failing store did not take and stores them later; until then the routers do not
   * know of each other's writes (documented at `StoredPositions`). Devices are then on their own, with their tokens.
   */
  get joinsDevices(): boolean {
    const { store } = this.plan
    return store !== undefined && store.fails !== 'raises'
  }

  /** The shared cache's server loses all that it has. */
  forgetCache(): void {
    this.#forgetful.forget()
    this.fills.forgotten()
  }

  kill(id: string, how: Death): void {
    if (this.physical !== undefined && how !== 'stops') this.losses.crashes(this.physical.server(id))
    if (how === 'loses power') this.cluster.powerOff(id)
    else if (how === 'crashes') this.cluster.crash(id)
    else this.cluster.stop(id)
  }

  /** It comes back, as what it was. */
  revive(id: string, behind = 0): void {
    this.leaderless?.restart(id)
    if (this.physical === undefined) return
    this.physical.restart(id, { behind })
    this.losses.comesBack(this.physical.server(id))
  }

  /** The logs that there have been, as far as anybody has them. */
  get logs(): readonly string[] {
    const { leaderless } = this
    return leaderless === undefined ? [] : [...new Set(leaderless.ids.flatMap(id => [...leaderless.server(id).logs]))]
  }

  /** How far things went that have a bound. */
  get gauges(): readonly GaugeRecord[] {
    return this.routers.map(({ id, mostWaiting }) => ({
      type: 'gauge',
      name: `reads that wait at ${id}`,
      value: mostWaiting,
      bound: MAX_WAITING,
    }))
  }

  /** In which of its lives each server is. */
  readonly lives = (): ReadonlyMap<string, string> => new Map(this.cluster.ids.map(id => [id, this.cluster.server(id).lifeId]))

  readonly look = (node: string): ServerLook | undefined => {
    if (!this.cluster.ids.includes(node)) return undefined
    const { lifeId: life, data } = this.cluster.server(node)
    const values = new Map<string, string>()
    for (const [key, { value }] of data) values.set(key, value)
    return { life, values }
  }

  /** `undefined` in a leaderless cluster, while there is none, and while it is down: then it is not the old one that is the newest again. */
  get newest(): Newest | undefined {
    const { physical } = this
    const primary = physical?.primary
    const isLatest = primary && physical?.ids.every(id => physical.server(id).wal.timeline <= primary.wal.timeline)
    if (!isLatest) return undefined
    return { id: primary.id, lineage: lineageOf(primary.system, primary.wal.timeline), life: primary.lifeId }
  }

  /** Whether some of these values, which are new, are not in the server's log. */
  lacks(id: string, writes: readonly WrittenValue[]): boolean {
    const { records } = this.physical!.server(id).wal
    const has = (value: string) => records.findLast(({ versions }) => versions.some(each => each.value === value)) !== undefined
    return !writes.every(([, value]) => has(value))
  }

  /**
   * What there is to be had for a router; `undefined` where nothing that is lost comes back. Nor is anything excused of one that has not
   * heard of the latest history: it must not let go of what is in a later one than it knows.
   */
  #tombstoneOf({ authorities }: RouterProcess): Tombstone | undefined {
    if (!this.rivalHistories && this.departed.size === 0) return undefined
    if (this.physical !== undefined && authorities[0] !== this.physical.primary?.id) return undefined
    const [first, ...others] = authorities.flatMap(id => this.look(id)?.values ?? [])
    return first && [first, ...others]
  }

  /** Whether readers of some server see these writes now. */
  shows(writes: readonly WrittenValue[] = []): boolean {
    const shown = new Set(this.cluster.ids.flatMap(id => [...this.cluster.server(id).data.values()].map(({ value }) => value)))
    return writes.every(([, value]) => shown.has(value))
  }

  note(text: string): void {
    this.events.push({ at: this.simulation.now(), text })
  }

  /** A response brought tokens. */
  issued(response: ResponseHeaders, user: string | undefined): void {
    const text = response.get(TOKEN_HEADER)
    if (text === null) return
    this.tokensIssued.push({ text, user })
    if (this.tokensIssued.length > MAX_ISSUED) this.tokensIssued.shift()
  }

  readonly invalidated = (key: string, written: readonly WrittenValue[]): void => this.fills.invalidated(key, written)
}
