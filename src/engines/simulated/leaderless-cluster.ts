import { logName, Peer, type PeerContext } from './peer.js'
import { SERVER_CLUSTER_DEFAULTS, ServerCluster, type ServerClusterOptions } from './server-cluster.js'
import type { SimulatedServerSpec } from './server-process.js'
import type { Simulation } from './simulation.js'

/** Servers that all take writes, each into a log of its own; and every fault that they can have. See {@link Peer}. */
export class SimulatedLeaderlessCluster extends ServerCluster<Peer> {
  readonly topology = 'leaderless'
  readonly #logNames: string[] = []
  readonly #peerContext: PeerContext
  readonly #generations = new Map<string, number>()
  /** Switched off for good: nobody asks them any more. */
  readonly #removed = new Set<string>()

  constructor(simulation: Simulation, options: ServerClusterOptions = {}) {
    super(simulation, options)
    this.#peerContext = {
      ...this.context,
      logNames: this.#logNames,
      nextGeneration: id => this.#nextGeneration(id),
      others: id => [...this.servers.values()].filter(peer => peer.id !== id && !this.#removed.has(peer.id)),
    }
    for (const spec of options.servers ?? SERVER_CLUSTER_DEFAULTS.servers) this.#create(spec)
  }

  /** Of each register the value that the peer has which has most of its log. */
  finalValues(): ReadonlyMap<string, string> {
    const values = new Map<string, string>()
    const running = [...this.servers.values()].filter(peer => peer.state === 'running')
    for (const log of new Set(running.flatMap(peer => [...peer.logs]))) {
      const longest = running.map(peer => peer.recordsOf(log)).reduce((a, b) => (b.length > a.length ? b : a))
      for (const { record } of longest) for (const { key, value } of record.versions) values.set(key, value)
    }
    return values
  }

  /** Whether every running peer has applied all that any of them has. */
  get converged(): boolean {
    const applied = [...this.servers.values()].filter(({ state }) => state === 'running').map(peer => peer.applied)
    return applied.every(each => applied.every(other => each.includes(other)))
  }

  /**
   * The server comes back at its address with a copy of `from`'s data (default: its own) as it was `ageMs` ago, and writes another
   * generation of its log.
   */
  rebuild(id: string, { ageMs = 0, from = id }: { readonly ageMs?: number; readonly from?: string } = {}): void {
    const peer = this.server(id)
    const source = this.server(from)
    this.note('rebuild', id, from, String(ageMs))
    peer.end('down', { lost: true })
    peer.restore(source, this.simulation.now() - ageMs)
    peer.start()
  }

  /** A server joins, empty. */
  addServer(spec: SimulatedServerSpec): void {
    this.refuseTwice(spec.id)
    this.note('addServer', spec.id)
    this.#create(spec)
  }

  override removeServer(id: string): void {
    super.removeServer(id)
    this.#removed.add(id)
  }

  /** The wall clock of the server's host is set forward, or back if negative. */
  jumpClock(id: string, ms: number): void {
    this.note('jumpClock', id, String(ms))
    this.server(id).clock.jumpWall(ms)
  }

  /** From now on the clock of the server's host runs at another rate; 1 is right. */
  driftClock(id: string, rate: number): void {
    this.note('driftClock', id, String(rate))
    this.server(id).clock.setRate(rate)
  }

  #create(spec: SimulatedServerSpec): void {
    const peer = new Peer(this.#peerContext, spec, this.system)
    this.enter(peer)
    peer.start()
  }

  #nextGeneration(id: string): number {
    const generation = (this.#generations.get(id) ?? 0) + 1
    this.#generations.set(id, generation)
    this.#logNames.push(logName(id, generation))
    return generation
  }
}
