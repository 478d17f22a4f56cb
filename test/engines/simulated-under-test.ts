/** The simulated engine, for the engine contract: virtual time runs by itself from the start of the cluster to its end. */
import type { Executor } from '../../src/core/execution/executor.js'
import type { Session } from '../../src/core/session.js'
import { SimulatedCluster } from '../../src/engines/simulated/cluster.js'
import type { SimulatedLease } from '../../src/engines/simulated/connection-pool.js'
import { simulatedEngine } from '../../src/engines/simulated/simulated-engine.js'
import type { SimulatedNode, SimulatedNodeSpec } from '../../src/engines/simulated/simulated-node.js'
import { readKeys, writeValues } from '../../src/engines/simulated/simulated-session.js'
import { Simulation } from '../../src/engines/simulated/simulation.js'
import type { ContractClient, ContractCluster, EngineUnderTest } from '../../src/testing/index.js'

const FROM = 'router'
const TICK_MS = 10

export function simulatedUnderTest(seed: number): EngineUnderTest<SimulatedLease, SimulatedNodeSpec, SimulatedNode> {
  return {
    name: `simulated, seed ${seed}`,
    capabilities: {
      restart: true,
      rebuild: true,
      promotion: true,
      history: true,
      asynchronousCommit: true,
      boundary: true,
      unknownPosition: true,
      balanced: true,
      lostAnswer: true,
      silence: true,
      connectionCount: true,
    },
    start: async () => new SimulatedContractCluster(new Simulation(seed)),
  }
}

class SimulatedContractCluster implements ContractCluster<SimulatedLease, SimulatedNodeSpec, SimulatedNode> {
  readonly primary = 'a'
  readonly replicas = ['b', 'c'] as const
  readonly #simulation: Simulation
  readonly #cluster: SimulatedCluster
  readonly clock
  readonly engine
  #present = this.primary as string
  #closed = false
  readonly #running: Promise<void>

  constructor(simulation: Simulation) {
    this.#simulation = simulation
    this.#cluster = new SimulatedCluster(simulation)
    this.clock = simulation.clock(FROM)
    this.engine = simulatedEngine(this.#cluster, { from: FROM, clock: this.clock })
    this.#running = this.#run()
  }

  spec(node: string): SimulatedNodeSpec {
    return { id: node }
  }

  balanced(nodes: readonly string[]): SimulatedNodeSpec {
    this.#cluster.balance('readers', nodes)
    return { id: 'readers', balanced: true }
  }

  client(executor: Executor<SimulatedLease, SimulatedNode>): ContractClient {
    return {
      async write(session: Session, key, value, { asynchronous = false } = {}) {
        await writeValues(executor, session, [[key, value]], { asyncCommit: asynchronous })
      },
      async read(scope, key, options = {}) {
        const [row] = await readKeys(executor, scope, [key], options)
        return row?.value ?? undefined
      },
    }
  }

  async show(node: string, key: string): Promise<string | undefined> {
    return this.#cluster.server(node).data.get(key)?.value
  }

  async pause(node: string): Promise<void> {
    this.#cluster.pauseReplay(node)
  }

  async resume(node: string): Promise<void> {
    this.#cluster.resumeReplay(node)
  }

  async caughtUp(node?: string): Promise<void> {
    const { end } = this.#cluster.server(this.#present).wal
    for (const id of node === undefined ? this.replicas : [node]) {
      const server = this.#cluster.server(id)
      while (server.recovering && !server.replayPaused && server.replayPosition < end) await this.#simulation.sleep(1)
    }
  }

  hang({ connection }: SimulatedLease): Promise<unknown> {
    return connection.request({ kind: 'sleep', ms: 3_600_000 })
  }

  async restart(node: string): Promise<void> {
    this.#cluster.restart(node)
  }

  async rebuild(node: string, meanwhile: () => Promise<void>): Promise<void> {
    const copiedAt = this.#simulation.now()
    await meanwhile()
    this.#cluster.rebuild(node, { ageMs: this.#simulation.now() - copiedAt })
    this.#cluster.pauseReplay(node)
  }

  async isolate(node: string): Promise<void> {
    this.#cluster.detach(node)
  }

  async promote(node: string): Promise<void> {
    this.#cluster.promote(node)
    this.#present = node
    for (const other of this.replicas) if (other !== node) this.#cluster.follow(other, node)
  }

  async toBoundary(): Promise<void> {
    const { wal } = this.#cluster.server(this.primary)
    const connection = this.#cluster.connect('somebody', this.primary)
    await connection.opened
    while (wal.insertPosition === wal.end) await connection.request({ kind: 'write', values: [['filler', `${wal.end}`]] })
    connection.destroy()
  }

  async unsay(node: string): Promise<void> {
    this.#cluster.detach(node)
  }

  async resay(node: string): Promise<void> {
    this.#cluster.follow(node, this.primary)
    while (!this.#cluster.server(node).receiver.streaming) await this.#simulation.sleep(1)
  }

  async deafen(node: string): Promise<void> {
    this.#cluster.cut(node, FROM, { oneWay: true })
  }

  async disconnect(node: string): Promise<void> {
    this.#cluster.reset(FROM, node)
    this.#cluster.heal(node, FROM)
  }

  async freeze(node: string): Promise<void> {
    this.#cluster.freeze(node)
  }

  async thaw(node: string): Promise<void> {
    this.#cluster.thaw(node)
  }

  async connections(node: string): Promise<number> {
    return this.#cluster.server(node).backends.size
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#running
  }

  async #run(): Promise<void> {
    while (!this.#closed) await this.#simulation.run({ until: this.#simulation.now() + TICK_MS, isDone: () => this.#closed })
  }
}
