/**
 * The truth of a simulated world, as far as it is the same for every kind of cluster: servers, the network between them and their
 * clients, and faults. What goes wrong goes wrong only by a method of a cluster, at the virtual time of the call, and follows
 * from the seed.
 */
import { Connection } from './connection.js'
import { type LinkDelay, Network, type NetworkOptions } from './network.js'
import type { Random } from './random.js'
import {
  SERVER_TIMES,
  type ServerContext,
  type ServerProcess,
  type ServerTimes,
  type SimulatedServerSpec,
} from './server-process.js'
import type { Simulation } from './simulation.js'
import type { Version } from './wal.js'

export interface ServerClusterOptions {
  /** Default `a`, `b`, `c`. */
  readonly servers?: readonly SimulatedServerSpec[]
  readonly network?: NetworkOptions
  readonly times?: Partial<ServerTimes>
  /** Identifies the replicated system. Default `7000000000000000001`. */
  readonly system?: string
}

export const SERVER_CLUSTER_DEFAULTS = Object.freeze({
  servers: [{ id: 'a' }, { id: 'b' }, { id: 'c' }] as readonly SimulatedServerSpec[],
  system: '7000000000000000001',
})

/** Both directions, or only from the first to the second. Default `both`. */
export interface DirectionOptions {
  readonly oneWay?: boolean
}

export abstract class ServerCluster<S extends ServerProcess> {
  readonly simulation: Simulation
  readonly network: Network
  /** Every version that was ever committed anywhere, also what was lost afterwards, in the order of committing. */
  readonly versions: Version[] = []
  /** When each of them, by key and value, could first be seen where it was written. */
  readonly shownAt = new Map<string, number>()
  protected readonly servers = new Map<string, S>()
  protected readonly context: ServerContext<S>
  protected readonly system: string
  readonly #addresses = new Map<string, readonly string[]>()
  readonly #regions = new Map<string, string | undefined>()
  readonly #connections = new Map<string, Set<Connection>>()
  readonly #random: Random

  constructor(simulation: Simulation, options: ServerClusterOptions) {
    this.simulation = simulation
    this.system = options.system ?? SERVER_CLUSTER_DEFAULTS.system
    this.#random = simulation.random('cluster')
    this.network = new Network(simulation, process => this.#regions.get(process), options.network)
    this.context = {
      simulation,
      network: this.network,
      times: { ...SERVER_TIMES, ...options.times },
      serverOf: id => this.servers.get(id),
      committed: version => this.versions.push(version),
      shown: ({ key, value }) => this.shownAt.set(`${key} ${value}`, simulation.now()),
    }
  }

  abstract get topology(): 'primary' | 'leaderless'
  /** What keys hold in the end; absent: never written. For a history's `final` records. */
  abstract finalValues(): ReadonlyMap<string, string>

  // What there is.

  get ids(): readonly string[] {
    return [...this.servers.keys()]
  }

  /** The server itself, for looking at what is true; to change it, use the methods here. */
  server(id: string): S {
    const server = this.servers.get(id)
    if (server === undefined) throw new RangeError(`no server "${id}"; there are ${this.ids.join(', ')}`)
    return server
  }

  /** Says in which region a process that is no server runs; its links are then local or remote accordingly. */
  place(process: string, region: string | undefined): void {
    this.#regions.set(process, region)
  }

  /** A connection from the process `from` to one of the servers behind `address` (a server's id is an address, too). */
  connect(from: string, address: string): Connection {
    const ids = this.#addresses.get(address) ?? [address]
    const id = ids[this.#random.below(ids.length)]
    const connection = new Connection(this.network, from, this.server(id ?? address))
    this.#connectionsOf(from).add(connection)
    return connection
  }

  /** An address that leads to several servers: each new connection goes to one of them, whatever state it is in. */
  balance(address: string, ids: readonly string[]): void {
    for (const id of ids) this.server(id)
    this.#addresses.set(address, [...ids])
  }

  // Lives.

  /** The server's process dies: what is not on disk is lost, clients are told, the host refuses connections. */
  crash(id: string): void {
    this.note('crash', id)
    this.server(id).end('down', { lost: true })
  }

  /** The server's host loses its power: as {@link crash}, but nobody hears anything. */
  powerOff(id: string): void {
    this.note('powerOff', id)
    this.server(id).end('dead', { lost: true })
  }

  /** An orderly stop: everything is on disk, clients are told. */
  stop(id: string): void {
    this.note('stop', id)
    this.server(id).end('down', { lost: false })
  }

  /** Begins a new life from what is on disk, as what it was. Ends the present life first, if there is one, as a crash does. */
  restart(id: string): void {
    this.note('restart', id)
    this.server(id).end('down', { lost: true })
    this.server(id).start()
  }

  /** A server is switched off for good. Its address stays dead. */
  removeServer(id: string): void {
    this.note('removeServer', id)
    this.server(id).end('down', { lost: true })
  }

  // Trouble.

  /** The server's process is stopped: connections are accepted, what arrives is kept, nothing is answered. */
  freeze(id: string): void {
    this.note('freeze', id)
    this.server(id).freeze()
  }

  /** Everything that arrived meanwhile is done now, in order: also what nobody is waiting for any more. */
  thaw(id: string): void {
    this.note('thaw', id)
    this.server(id).thaw()
  }

  pauseReplay(id: string): void {
    this.note('pauseReplay', id)
    this.server(id).pauseReplay(true)
  }

  resumeReplay(id: string): void {
    this.note('resumeReplay', id)
    this.server(id).pauseReplay(false)
  }

  /** The standby applies each record at the earliest `ms` after it was written (`recovery_min_apply_delay`). */
  delayReplay(id: string, ms: number): void {
    this.note('delayReplay', id, String(ms))
    this.server(id).applyDelayMs = ms
  }

  /** Nothing gets from `a` to `b` (nor back): it waits at the link, as TCP sends again. */
  cut(a: string, b: string, { oneWay = false }: DirectionOptions = {}): void {
    this.note('cut', a, b)
    this.network.cut(a, b)
    if (!oneWay) this.network.cut(b, a)
  }

  /** What waited arrives now, in a burst. */
  heal(a: string, b: string): void {
    this.note('heal', a, b)
    this.network.heal(a, b)
    this.network.heal(b, a)
  }

  /** Every message from `a` to `b` (and back) takes `ms` longer from now on. 0: as usual. */
  delay(a: string, b: string, ms: number, { oneWay = false }: DirectionOptions = {}): void {
    this.note('delay', a, b, String(ms))
    this.network.link(a, b).extraMs = ms
    if (!oneWay) this.network.link(b, a).extraMs = ms
  }

  /** How long messages from `a` to `b` take, instead of what regions say. */
  setLink(a: string, b: string, delay: LinkDelay, { oneWay = false }: DirectionOptions = {}): void {
    this.network.link(a, b).delay = delay
    if (!oneWay) this.network.link(b, a).delay = delay
  }

  /**
   * Each message between the two breaks its connection with this chance instead of arriving: a request then is not carried
   * out, or it is and its answer is lost. 0: never.
   */
  unreliable(a: string, b: string, chance: number, { oneWay = false }: DirectionOptions = {}): void {
    this.note('unreliable', a, b, String(chance))
    this.network.link(a, b).breakChance = chance
    if (!oneWay) this.network.link(b, a).breakChance = chance
  }

  /** All connections from the process `from` to `id` (default: to anywhere) break at once: what is under way is lost. */
  reset(from: string, id?: string): void {
    this.note('reset', from, id ?? '')
    for (const connection of [...this.#connectionsOf(from)]) {
      if (id === undefined || connection.host.id === id) connection.reset('connection reset by peer')
    }
  }

  protected enter(server: S): void {
    this.#regions.set(server.id, server.region)
    this.servers.set(server.id, server)
  }

  protected refuseTwice(id: string): void {
    if (this.servers.has(id)) throw new RangeError(`there is a server "${id}" already`)
  }

  protected note(...fault: readonly string[]): void {
    this.simulation.note(fault.join(' '))
  }

  /** Those that are not broken: the rest is forgotten as it is looked at. */
  #connectionsOf(from: string): Set<Connection> {
    let connections = this.#connections.get(from)
    if (connections === undefined) {
      connections = new Set()
      this.#connections.set(from, connections)
    }
    for (const connection of connections) if (connection.broken !== undefined) connections.delete(connection)
    return connections
  }
}
