/** The contract can fail: engines that are broken in one place each, and the case that finds it. */
import { describe, expect, test } from 'vitest'
import { type MemoryLease, MemoryNode, type MemorySpec, memoryEngine } from '../../examples/memory-engine/memory-engine.js'
import { memoryUnderTest } from '../../examples/memory-engine/memory-under-test.js'
import { Cluster } from '../../src/core/cluster.js'
import {
  type Clock,
  type Engine,
  type Executor,
  type Observation,
  Position,
  type QuickKind,
  type ReadAnswer,
  type SendWrite,
  systemClock,
} from '../../src/engine.js'
import { type ContractClient, type ContractCluster, ENGINE_CONTRACT, runCase } from '../../src/testing/index.js'

type MemoryEngine = Engine<MemorySpec, MemoryNode>
type MemoryExecutor = Executor<MemoryLease, MemoryNode>
type MemoryCluster = ContractCluster<MemoryLease, MemorySpec, MemoryNode>

interface Broken {
  readonly engine?: Partial<MemoryEngine>
  readonly client?: (executor: MemoryExecutor) => Partial<ContractClient>
  /** How the names of the cases begin that find it. */
  readonly found: readonly string[]
}

/** A node that is not entered into the picture: what it observes goes into one that nobody looks at. */
class Unobserved extends MemoryNode {
  constructor(spec: MemorySpec, cluster: Cluster) {
    super(spec, new Cluster([spec]), systemClock)
    Object.assign(this, { node: cluster.node(spec.id) })
  }
}

class Guessing extends MemoryNode {
  override async locate(lease: MemoryLease) {
    const seen = await super.locate(lease)
    return { ...seen, epoch: seen.epoch ?? 1 }
  }
}

/** Takes a node for the same, whatever becomes of it. */
class Immortal extends MemoryNode {
  constructor(spec: MemorySpec, cluster: Cluster, clock: Clock) {
    const observe: Cluster['observe'] = (node, seen) => cluster.observe(node, { ...seen, incarnation: spec.id })
    super(spec, { node: (id: string) => cluster.node(id), observe } as Cluster, clock)
  }
  override async acquired(quick?: QuickKind, signal?: AbortSignal): Promise<MemoryLease> {
    return Object.assign(await super.acquired(quick, signal), { incarnation: this.spec.id })
  }
  override async locate(lease: MemoryLease) {
    return { ...(await super.locate(lease)), incarnation: this.spec.id }
  }
  override async probe(timeoutMs: number) {
    return { ...(await super.probe(timeoutMs)), incarnation: this.spec.id }
  }
}

class Remembering extends MemoryNode {
  #first: Observation | undefined
  override async locate(lease: MemoryLease) {
    this.#first ??= await super.locate(lease)
    return this.#first
  }
}

class Patient extends MemoryNode {
  override probe(): Promise<Observation> {
    return super.probe(3_600_000)
  }
}

class Stubborn extends MemoryNode {
  override cut(): void {}
}

class Undying extends MemoryNode {
  override async close(): Promise<void> {}
}

class Deaf extends MemoryNode {
  override acquired(quick?: QuickKind): Promise<MemoryLease> {
    return super.acquired(quick)
  }
}

const nodeOf = (Broken: new (spec: MemorySpec, cluster: Cluster, clock: Clock) => MemoryNode): Partial<MemoryEngine> => ({
  connect: (spec, cluster) => new Broken(spec, cluster, systemClock),
})

const writes =
  (
    send: (
      put: (lease: MemoryLease) => Promise<void>,
      where: (lease: MemoryLease) => Promise<Position>,
    ) => SendWrite<MemoryLease, void>,
  ) =>
  (executor: MemoryExecutor): Partial<ContractClient> => ({
    write: (session, key, value) =>
      executor.write(session, {}, (lease, node, plan) => {
        const target = executor.context.nodes.get(node)!
        return send(
          each => each.connection.send(server => server.put(key, value)),
          async each => positionOf(await target.locate(each)),
        )(lease, node, plan)
      }),
  })

const reads =
  (
    send: (
      lease: MemoryLease,
      target: MemoryNode,
      get: () => Promise<string | undefined>,
    ) => Promise<ReadAnswer<string | undefined>>,
  ) =>
  (executor: MemoryExecutor): Partial<ContractClient> => ({
    read: (scope, key, options) =>
      executor.read(scope, options ?? {}, async (lease, node) => {
        try {
          return await send(lease, executor.context.nodes.get(node)!, () => lease.connection.send(server => server.get(key)))
        } finally {
          lease.release()
        }
      }),
  })

function positionOf({ system, epoch, applied }: Observation): Position {
  return Position.at(`${system}/${epoch}`, applied!)
}

const BROKEN: Readonly<Record<string, Broken>> = {
  'a new connection is used unchecked': {
    engine: nodeOf(Unobserved),
    found: ['a connection is checked', 'a new incarnation is noticed', 'a replica that was rebuilt'],
  },
  'a restart begins no new incarnation': {
    engine: nodeOf(Immortal),
    found: ['a new incarnation is noticed', 'a replica that was rebuilt'],
  },
  'a history that is not known is guessed': { engine: nodeOf(Guessing), found: ['a replica that does not know'] },
  'what a server said once is said again': {
    engine: nodeOf(Remembering),
    found: ['within an incarnation', 'what is asked on a lease', 'behind an address that hides several servers each'],
  },
  'a probe has no deadline': { engine: nodeOf(Patient), found: ['a server that does not answer'] },
  'cut does nothing': { engine: nodeOf(Stubborn), found: ['a cut connection'] },
  'close does nothing': { engine: nodeOf(Undying), found: ['what is closed gives', 'what is closed leaves'] },
  'a signal is not heard': { engine: nodeOf(Deaf), found: ['whoever has given up'] },
  'all of every older history is taken for preserved': {
    engine: { history: async (_, epoch) => [{ epoch: epoch - 1, includedUpTo: 1_000_000n, exact: true }] },
    found: ['what a promotion has cut off'],
  },
  'the record of older histories is not read': {
    engine: { history: async () => undefined },
    found: ['what a promotion has kept', 'what a promotion has cut off'],
  },
  'the position is asked for before the write': {
    client: writes((put, where) => async lease => {
      const captured = await where(lease)
      await put(lease)
      return { captured, release: () => lease.release() }
    }),
    found: ['the position of a write', 'a replica that is behind'],
  },
  'the position lies beyond the last entry': {
    client: writes((put, where) => async lease => {
      await put(lease)
      const [entry] = (await where(lease)).entries
      return { captured: Position.at(entry!.lineage, entry!.offset + 1n), release: () => lease.release() }
    }),
    found: ['the position of a write', 'on a system that falls idle'],
  },
  'a write without an answer is taken for not committed': {
    client: writes((put, where) => async lease => {
      const error = await put(lease).then(
        () => undefined,
        (reason: unknown) => reason,
      )
      const captured = error === undefined ? await where(lease) : Position.at(lease.writes!, 0n)
      return {
        error,
        captured,
        release() {
          lease.release(error !== undefined)
          return error
        },
      }
    }),
    found: ['when the answer to a commit is lost'],
  },
  'check and read go over two connections': {
    client: reads(async (_, target, get) => {
      const other = await target.acquired()
      const checked = await target.locate(other)
      other.release()
      return { result: await get(), checked }
    }),
    found: ['behind an address that hides several servers, check'],
  },
  'a check that was not made is said to have been passed': {
    client: reads(async (lease, target, get) => {
      const checked = { ...(await target.locate(lease)), applied: 1_000_000n }
      return { result: await get(), checked }
    }),
    found: ['behind an address that hides several servers, check'],
  },
  'what a read has shown is not bounded': {
    client: reads(async (_, __, get) => ({ result: await get(), bound: Position.zero })),
    found: ['with monotonic reads'],
  },
}

const cases = Object.entries(BROKEN).flatMap(([name, broken]) => broken.found.map(start => [name, start, broken] as const))

describe('the contract finds that', () => {
  test.concurrent.each(cases)(
    '%s: %s …',
    async (_, start, { engine, client }) => {
      const cluster = await memoryUnderTest({ ...memoryEngine(), ...engine }).start()
      const right = cluster.client.bind(cluster)
      const broken: MemoryCluster = {
        ...cluster,
        patienceMs: 2_000,
        client: executor => ({ ...right(executor), ...client?.(executor) }),
      }
      const each = ENGINE_CONTRACT.find(({ name }) => name.startsWith(start))!
      try {
        await expect(runCase(each, broken as unknown as ContractCluster)).rejects.toThrow()
      } finally {
        await cluster.close()
      }
    },
    60_000,
  )
})
