/** Servers with one log, which a primary writes and standbys follow, as PostgreSQL's do; and every fault that they can have. */
import { Server } from './server.js'
import { SERVER_CLUSTER_DEFAULTS, ServerCluster, type ServerClusterOptions } from './server-cluster.js'
import type { SimulatedServerSpec } from './server-process.js'
import type { Simulation } from './simulation.js'
import { type Geometry, Wal } from './wal.js'

/** Of the servers, the first is the primary, the others are its standbys. */
export interface SimulatedClusterOptions extends ServerClusterOptions {
  readonly geometry?: Geometry
}

export const SIMULATED_CLUSTER_DEFAULTS = Object.freeze({
  ...SERVER_CLUSTER_DEFAULTS,
  geometry: { blockSize: 1024, segmentSize: 16 * 1024, origin: 1n << 60n } as Geometry,
})

export class SimulatedCluster extends ServerCluster<Server> {
  readonly topology = 'primary'
  readonly #geometry: Geometry

  constructor(simulation: Simulation, options: SimulatedClusterOptions = {}) {
    super(simulation, options)
    const { servers, geometry } = { ...SIMULATED_CLUSTER_DEFAULTS, ...options }
    this.#geometry = geometry
    for (const [index, spec] of servers.entries()) {
      const server = this.#create(spec, index > 0)
      server.receiver.upstream = index > 0 ? servers[0]!.id : undefined
      server.start()
    }
  }

  /** The running server out of recovery with the latest timeline; of several, the one with most in its log. */
  get primary(): Server | undefined {
    let best: Server | undefined
    for (const server of this.servers.values()) {
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

  /**
   * As every server's; an old primary comes back as one. A standby replays from a restart point: it opens up to `behind` records
   * before what it had applied. Default 0.
   */
  override restart(id: string, { behind = 0 }: { readonly behind?: number } = {}): void {
    const server = this.server(id)
    this.note('restart', id)
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
    this.note('rebuild', id, source.id, String(ageMs))
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
    this.note('promote', id)
    server.whenAwake(() => {
      if (server.state === 'running' && server.recovering) server.promote(this.#nextTimeline(archive ? undefined : server))
    })
  }

  /** The standby streams from `upstream` from now on. It cannot when it has applied what `upstream` has not got. */
  follow(id: string, upstream: string): void {
    this.note('follow', id, upstream)
    this.server(upstream)
    this.server(id).receiver.followServer(upstream)
  }

  /** The standby streams from nowhere, until {@link follow}: it does not know any more in which history it is. */
  detach(id: string): void {
    this.note('detach', id)
    this.server(id).receiver.followServer(undefined)
  }

  /** A server joins as an empty standby of the present primary (or `upstream`) and catches up. */
  addServer(spec: SimulatedServerSpec, upstream = this.primary?.id): void {
    this.refuseTwice(spec.id)
    this.note('addServer', spec.id)
    const server = this.#create(spec, true)
    server.receiver.upstream = upstream
    server.start()
  }

  #create(spec: SimulatedServerSpec, recovering: boolean): Server {
    const server = new Server(this.context, spec, this.system, new Wal(this.#geometry), recovering)
    this.enter(server)
    return server
  }

  #nextTimeline(known: Server | undefined): number {
    if (known !== undefined) return known.wal.timeline + 1
    return Math.max(...[...this.servers.values()].map(server => server.wal.timeline)) + 1
  }
}
