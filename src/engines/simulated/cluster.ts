/**
 * The truth of a simulated world: servers, the network between them and their clients, and every fault that they can have.
 * What goes wrong goes wrong only by a method of this class, at the virtual time of the call, and follows from the seed.
 */
import { Connection } from './connection.js'
import { type LinkDelay, Network, type NetworkOptions } from './network.js'
import type { Random } from './random.js'
import { SERVER_TIMES, Server, type ServerContext, type ServerTimes } from './server.js'
import type { Simulation } from './simulation.js'
import { type Geometry, type Version, Wal } from './wal.js'

export interface SimulatedServerSpec {
  readonly id: string
  readonly region?: string
}

export interface SimulatedClusterOptions {
  /** The first is the primary, the others are its standbys. Default `a` (primary), `b`, `c`. */
  readonly servers?: readonly SimulatedServerSpec[]
  readonly network?: NetworkOptions
  readonly times?: Partial<ServerTimes>
  readonly geometry?: Geometry
  /** Identifies the replicated system. Default `7000000000000000001`. */
  readonly system?: string
}

export const SIMULATED_CLUSTER_DEFAULTS = Object.freeze({
  servers: [{ id: 'a' }, { id: 'b' }, { id: 'c' }] as readonly SimulatedServerSpec[],
  system: '7000000000000000001',
  geometry: { blockSize: 1024, segmentSize: 16 * 1024, origin: 1n << 60n } as Geometry,
})

/** Both directions, or only from the first to the second. Default `both`. */
export interface DirectionOptions {
  readonly oneWay?: boolean
}

export class SimulatedCluster {
  readonly simulation: Simulation
  readonly network: Network
  /** Every version that was ever committed anywhere, also what was lost afterwards, in the order of committing. */
  readonly versions: Version[] = []
  readonly #servers = new Map<string, Server>()
  readonly #addresses = new Map<string, readonly string[]>()
  readonly #regions = new Map<string, string | undefined>()
  readonly #connections = new Map<string, Set<Connection>>()
  readonly #context: ServerContext
  readonly #geometry: Geometry
  readonly #system: string
  readonly #random: Random

  constructor(simulation: Simulation, options: SimulatedClusterOptions = {}) {
    const { servers, geometry, system } = { ...SIMULATED_CLUSTER_DEFAULTS, ...options }
    this.simulation = simulation
    this.#geometry = geometry
    this.#system = system
    this.#random = simulation.random('cluster')
    this.network = new Network(simulation, process => this.#regions.get(process), options.network)
    this.#context = {
      simulation,
      network: this.network,
      times: { ...SERVER_TIMES, ...options.times },
      serverOf: id => this.#servers.get(id),
      committed: version => this.versions.push(version),
    }
    for (const [index, spec] of servers.entries()) {
      const server = this.#create(spec, new Wal(geometry), index > 0)
      server.receiver.upstream = index > 0 ? servers[0]!.id : undefined
      server.start()
    }
  }

  // What there is.

  get ids(): readonly string[] {
    return [...this.#servers.keys()]
  }

  /** The server itself, for looking at what is true; to change it, use the methods here. */
  server(id: string): Server {
    const server = this.#servers.get(id)
    if (server === undefined) throw new RangeError(`no server "${id}"; there are ${this.ids.join(', ')}`)
    return server
  }

  /** The running server out of recovery with the latest timeline; of several, the one with most in its log. */
  get primary(): Server | undefined {
    let best: Server | undefined
    for (const server of this.#servers.values()) {
      if (server.recovering || server.state !== 'running') continue
      const isLater = best === undefined || server.wal.timeline > best.wal.timeline
      if (isLater || (server.wal.timeline === best?.wal.timeline && server.wal.end > best.wal.end)) best = server
    }
    return best
  }

  /** What keys hold on the present primary; absent: never written. For a history's `final` records. */
  finalValues(): ReadonlyMap<string, string> {
    return new Map([...(this.primary?.data.values() ?? [])].map(({ key, value }) => [key, value]))
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
    this.#note('crash', id)
    this.server(id).end('down', { lost: true })
  }

  /** The server's host loses its power: as {@link crash}, but nobody hears anything. */
  powerOff(id: string): void {
    this.#note('powerOff', id)
    this.server(id).end('dead', { lost: true })
  }

  /** An orderly stop: everything is on disk, clients are told. */
  stop(id: string): void {
    this.#note('stop', id)
    this.server(id).end('down', { lost: false })
  }

  /**
   * Begins a new life from what is on disk, as the primary or standby that it was (an old primary comes back as one). Ends the
   * present life first, if there is one. A standby replays from a restart point: it opens up to `behind` records before what
   * it had applied. Default 0.
   */
  restart(id: string, { behind = 0 }: { readonly behind?: number } = {}): void {
    const server = this.server(id)
    this.#note('restart', id)
    const consistent = Math.max(0, server.applied - behind)
    server.end('down', { lost: true })
    server.start(consistent)
  }

  /**
   * The server comes back at its address with a copy of `from`'s data as it was `ageMs` ago, as a standby of it. Default: of the
   * present primary, now. Also how an old primary is taken back ({@link rejoin}).
   */
  rebuild(id: string, { ageMs = 0, from = this.primary?.id }: { readonly ageMs?: number; readonly from?: string } = {}): void {
    const server = this.server(id)
    const source = this.server(from ?? '(there is no primary)')
    if (source === server) throw new RangeError(`${id} cannot be rebuilt from itself`)
    this.#note('rebuild', id, source.id, String(ageMs))
    server.end('down', { lost: true })
    const before = this.simulation.now() - ageMs
    const onDisk = source.wal.countUpTo(source.flushed)
    let count = 0
    while (count < onDisk && source.wal.records[count]!.insertedAt <= before) count++
    server.wal = source.wal.copy(count)
    server.flushed = server.wal.end
    server.recovering = true
    server.receiver.upstream = source.id
    server.start()
  }

  /** An old primary (or a standby that cannot follow) becomes a standby of the present primary. */
  rejoin(id: string): void {
    this.rebuild(id)
  }

  /**
   * A standby becomes a primary, on a new timeline that has what it has received. Nothing stops the old primary, and nobody
   * follows before {@link follow} says so. The number of the timeline is one more than any server has ever used, as with an
   * archive that all share; with `archive: false` one more than this server knows of, so that two promotions may take the same.
   */
  promote(id: string, { archive = true }: { readonly archive?: boolean } = {}): void {
    const server = this.server(id)
    if (server.state !== 'running' || !server.recovering) return
    this.#note('promote', id)
    server.whenAwake(() => {
      if (server.state === 'running' && server.recovering) server.promote(this.#nextTimeline(archive ? undefined : server))
    })
  }

  /** The standby streams from `upstream` from now on. It cannot when it has applied what `upstream` has not got. */
  follow(id: string, upstream: string): void {
    this.#note('follow', id, upstream)
    this.server(upstream)
    this.server(id).receiver.followServer(upstream)
  }

  /** The standby streams from nowhere, until {@link follow}: it does not know any more in which history it is. */
  detach(id: string): void {
    this.#note('detach', id)
    this.server(id).receiver.followServer(undefined)
  }

  /** A server joins as an empty standby of the present primary (or `upstream`) and catches up. */
  addServer(spec: SimulatedServerSpec, upstream = this.primary?.id): void {
    if (this.#servers.has(spec.id)) throw new RangeError(`there is a server "${spec.id}" already`)
    this.#note('addServer', spec.id)
    const server = this.#create(spec, new Wal(this.#geometry), true)
    server.receiver.upstream = upstream
    server.start()
  }

  /** A server is switched off for good. Its address stays dead. */
  removeServer(id: string): void {
    this.#note('removeServer', id)
    this.server(id).end('down', { lost: true })
  }

  // Trouble.

  /** The server's process is stopped: connections are accepted, what arrives is kept, nothing is answered. */
  freeze(id: string): void {
    this.#note('freeze', id)
    this.server(id).freeze()
  }

  /** Everything that arrived meanwhile is done now, in order: also what nobody is waiting for any more. */
  thaw(id: string): void {
    this.#note('thaw', id)
    this.server(id).thaw()
  }

  pauseReplay(id: string): void {
    this.#note('pauseReplay', id)
    this.server(id).pauseReplay(true)
  }

  resumeReplay(id: string): void {
    this.#note('resumeReplay', id)
    this.server(id).pauseReplay(false)
  }

  /** The standby applies each record at the earliest `ms` after it was written (`recovery_min_apply_delay`). */
  delayReplay(id: string, ms: number): void {
    this.#note('delayReplay', id, String(ms))
    this.server(id).applyDelayMs = ms
  }

  /** Nothing gets from `a` to `b` (nor back): it waits at the link, as TCP sends again. */
  cut(a: string, b: string, { oneWay = false }: DirectionOptions = {}): void {
    this.#note('cut', a, b)
    this.network.cut(a, b)
    if (!oneWay) this.network.cut(b, a)
  }

  /** What waited arrives now, in a burst. */
  heal(a: string, b: string): void {
    this.#note('heal', a, b)
    this.network.heal(a, b)
    this.network.heal(b, a)
  }

  /** Every message from `a` to `b` (and back) takes `ms` longer from now on. 0: as usual. */
  delay(a: string, b: string, ms: number, { oneWay = false }: DirectionOptions = {}): void {
    this.#note('delay', a, b, String(ms))
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
    this.#note('unreliable', a, b, String(chance))
    this.network.link(a, b).breakChance = chance
    if (!oneWay) this.network.link(b, a).breakChance = chance
  }

  /** All connections from the process `from` to `id` (default: to anywhere) break at once: what is under way is lost. */
  reset(from: string, id?: string): void {
    this.#note('reset', from, id ?? '')
    for (const connection of [...this.#connectionsOf(from)]) {
      if (id === undefined || connection.host.id === id) connection.reset('connection reset by peer')
    }
  }

  #create(spec: SimulatedServerSpec, wal: Wal, recovering: boolean): Server {
    this.#regions.set(spec.id, spec.region)
    const server = new Server(this.#context, spec, this.#system, wal, recovering)
    this.#servers.set(spec.id, server)
    return server
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

  #nextTimeline(known: Server | undefined): number {
    if (known !== undefined) return known.wal.timeline + 1
    return Math.max(...[...this.#servers.values()].map(server => server.wal.timeline)) + 1
  }

  #note(...fault: readonly string[]): void {
    this.simulation.note(fault.join(' '))
  }
}
