import { describe, expect, onTestFinished, test } from 'vitest'
import { answer, clusterAt, listen, newCluster, T1, T2 } from '../../test/core/kit.js'
import type { Cluster } from './cluster.js'
import type { RerouteReason } from './events.js'
import { type Fence, NO_FENCE } from './fence.js'
import { DEFAULT_LADDER, type Ladder, NotReadyError, notReady, primary, type Rung, replica, stale, wait } from './ladder.js'
import type { Node } from './node.js'
import type { Outcome } from './outcome.js'
import { Position } from './position.js'
import { type Attempt, NotServedError, type ReadRequest, Reroute, Router, type Served } from './router.js'
import { StatsCollector } from './stats.js'
import { VirtualClock } from './virtual-clock.js'
import { WaitingRoom } from './waiting-room.js'

const at = (offset: number, lineage = T1): Fence => ({ kind: 'at', lineage, offset: BigInt(offset) })
const LOST: Fence = { kind: 'possibly-lost', position: Position.at(T2, 1n), verdict: 'foreign' }

class Bench {
  readonly clock = new VirtualClock()
  readonly cluster: Cluster
  readonly room: WaitingRoom
  readonly router: Router
  /** The nodes that were tried, in order. */
  readonly tried: string[] = []

  constructor(cluster: Cluster) {
    this.cluster = cluster
    this.room = new WaitingRoom(cluster, this.clock)
    this.router = new Router(cluster, this.room, this.clock)
  }

  read<R = string>(request: Partial<ReadRequest>, attempt?: Attempt<R>): Promise<Served<R>> {
    const full = { fence: NO_FENCE, ladder: DEFAULT_LADDER, guarantee: 'read-your-writes', ...request } as const
    return this.router.read(full, {
      onNode: (node, rung) => {
        this.tried.push(node.id)
        return attempt === undefined ? Promise.resolve(node.id as R) : attempt(node, rung)
      },
    })
  }

  apply(id: string, offset: number, other: Parameters<typeof answer>[3] = {}): void {
    this.cluster.observe(this.cluster.node(id), answer('replica', offset, this.clock.now(), other))
  }

  /** No path may leave anything behind. */
  async expectIdle(): Promise<void> {
    await this.clock.advance(0)
    expect(this.cluster.nodes.map(node => node.inFlight)).toEqual(this.cluster.nodes.map(() => 0))
    expect([this.room.size, this.clock.pendingTimers]).toEqual([0, 0])
    const fallbacks: number[] = []
    const probe: Rung = {
      name: 'probe',
      fenced: true,
      step: ({ fallbacksInFlight }) => {
        fallbacks.push(fallbacksInFlight)
        return undefined
      },
    }
    await this.read({ ladder: [probe] }).catch(() => {})
    expect(fallbacks).toEqual([0])
  }
}

const expected = (over: Partial<Outcome>): Outcome => ({
  node: 'r1',
  rung: 'replica',
  fallback: undefined,
  wait: undefined,
  waitedMs: 0,
  guarantee: 'read-your-writes',
  possiblyLost: false,
  stalenessMs: 0,
  reroutes: 0,
  ...over,
})

/** An attempt that lets whoever is on these nodes wait until told. */
function gate() {
  const open: (() => void)[] = []
  const attempt: Attempt<string> = node => new Promise(resolve => open.push(() => resolve(node.id)))
  const release = () => {
    for (const each of open.splice(0)) each()
  }
  return { attempt, release }
}

describe('why a later rung served', () => {
  const ladder = [replica(), primary()]
  const refusedBy = (reason: RerouteReason) => async (node: Node) => {
    if (node.role === 'replica') throw new Reroute(reason, new Error('refused'))
    return node.id
  }

  test('a replica refused what is no read', async () => {
    const bench = new Bench(clusterAt(100, 100, 100))
    const { outcome } = await bench.read({ fence: at(95), ladder }, refusedBy('needs-primary'))
    expect([bench.tried.length, outcome.fallback]).toEqual([2, 'needs-primary'])
  })

  test('those that have it could not serve it: none is behind', async () => {
    const bench = new Bench(clusterAt(100, 100))
    expect((await bench.read({ fence: at(95), ladder }, refusedBy('recovery-conflict'))).outcome.fallback).toBe('no-replica')
    expect((await bench.read({ fence: at(101), ladder })).outcome.fallback).toBe('behind')
  })

  test('a wait in vain that nobody served after counts as one', async () => {
    const bench = new Bench(clusterAt(100, 50))
    const stats = new StatsCollector(bench.cluster.name)
    stats.open()
    onTestFinished(() => stats.close())
    const served = bench.read({ fence: at(95), ladder: [replica(), wait({ budgetMs: 20 }), notReady()] })
    const refused = expect(served).rejects.toThrow(NotReadyError)
    await bench.clock.advance(20)
    await refused
    const { waits, reads } = stats.snapshot()
    expect([waits['timed-out'], reads.refused]).toEqual([1, { TIDEMARK_NOT_READY: 1 }])
  })

  test('moved as often as it may be, it is refused, and that is told', async () => {
    const bench = new Bench(clusterAt(100, 100))
    const heard = listen('tidemark:refused')
    const moved = bench.read({ ladder }, () => Promise.reject(new Reroute('new-incarnation')))
    await expect(moved).rejects.toThrow(NotServedError)
    expect(heard).toEqual([{ db: 'default', code: 'TIDEMARK_NOT_SERVED', waitedMs: 0 }])
  })
})

describe('down the ladder', () => {
  test('the fast path: a replica that has it, at once', async () => {
    const bench = new Bench(clusterAt(100, 90, 100))
    const heard = listen('tidemark:read')
    const { result, outcome } = await bench.read({ fence: at(95) })
    expect([result, outcome]).toEqual(['r2', expected({ node: 'r2' })])
    expect(heard).toEqual([{ db: 'default', ...outcome }])
    await bench.expectIdle()
  })

  test('a wait, and then the replica that has caught up', async () => {
    const bench = new Bench(clusterAt(100, 50))
    const served = bench.read({ fence: at(95) })
    await bench.clock.advance(8)
    expect(bench.tried).toEqual([])
    bench.apply('r1', 95)
    expect((await served).outcome).toEqual(expected({ rung: 'wait', wait: 'succeeded', waitedMs: 8, stalenessMs: undefined }))
    await bench.expectIdle()
  })

  test('a wait in vain, and then the primary', async () => {
    const bench = new Bench(clusterAt(100, 50))
    const served = bench.read({ fence: at(95), ladder: [replica(), wait({ budgetMs: 20 }), primary()] })
    await bench.clock.advance(19)
    expect(bench.tried).toEqual([])
    await bench.clock.advance(1)
    expect((await served).outcome).toEqual(
      expected({ node: 'p', rung: 'primary', fallback: 'behind', wait: 'timed-out', waitedMs: 20 }),
    )
    await bench.expectIdle()
  })

  test('a full primary passes to the next rung; when it is free it serves again', async () => {
    const bench = new Bench(clusterAt(100, 50))
    const ladder = [replica(), primary({ maxInFlight: 2 }), notReady()]
    const { attempt, release } = gate()
    const first = [bench.read({ fence: at(95), ladder }, attempt), bench.read({ fence: at(95), ladder }, attempt)]
    await expect(bench.read({ fence: at(95), ladder })).rejects.toThrow(NotReadyError)
    expect(bench.cluster.node('p').inFlight).toBe(2)
    release()
    await Promise.all(first)
    expect((await bench.read({ fence: at(95), ladder })).outcome.node).toBe('p')
    await bench.expectIdle()
  })

  test('reads of replicas do not count against the bound of the primary', async () => {
    const bench = new Bench(clusterAt(100, 100))
    const ladder = [replica(), primary({ maxInFlight: 1 })]
    const { attempt, release } = gate()
    const many = Array.from({ length: 5 }, () => bench.read({ fence: at(95), ladder }, attempt))
    expect((await bench.read({ fence: { kind: 'primary' }, ladder })).outcome.node).toBe('p')
    release()
    await Promise.all(many)
    await bench.expectIdle()
  })

  test('a refusal ends the read with its error', async () => {
    const bench = new Bench(clusterAt(100, 50))
    await expect(bench.read({ fence: at(95), ladder: [replica(), notReady({ retryAfterMs: 5 })] })).rejects.toMatchObject({
      code: 'TIDEMARK_NOT_READY',
      retryAfterMs: 5,
    })
    await bench.expectIdle()
  })

  test('rungs compose in any order: the primary first, then what is near', async () => {
    const bench = new Bench(clusterAt(100, 100))
    const ladder = [primary({ maxInFlight: 1 }), replica()]
    const { attempt, release } = gate()
    const first = bench.read({ fence: at(95), ladder }, attempt)
    expect((await bench.read({ fence: at(95), ladder })).outcome).toEqual(expected({}))
    release()
    expect((await first).outcome.rung).toBe('primary')
  })

  test('reads take turns, also when a rung before the replicas passes each time', async () => {
    const bench = new Bench(clusterAt(100, 100, 100, 100))
    const ladder = [stale({ maxLagMs: 0 }), replica()]
    bench.cluster.observe(bench.cluster.node('p'), answer('primary', 100, 0))
    await bench.clock.advance(5)
    for (let i = 0; i < 16; i++) await bench.read({ fence: at(95), ladder })
    expect(new Set(bench.tried)).toEqual(new Set(['r1', 'r2', 'r3']))
  })
})

describe('the end of the ladder', () => {
  test('says what was needed and what each node had to say', async () => {
    const bench = new Bench(clusterAt(100, 50, 60))
    bench.cluster.lose(bench.cluster.node('p'), { reason: 'cut off' })
    bench.cluster.observe(bench.cluster.node('r2'), answer('replica', undefined, 1, { incarnation: 'life 2' }))
    const error = await bench.read({ fence: at(95), ladder: [replica(), primary()] }).catch(error => error)
    expect(error).toBeInstanceOf(NotServedError)
    expect(error).toMatchObject({
      code: 'TIDEMARK_NOT_SERVED',
      required: `${T1}@95`,
      nodes: ['p: cut off', `r1: replica, at ${T1}@50`, 'r2: replica, position not known'],
      waitedMs: 0,
    })
    for (const part of [error.required, ...error.nodes]) expect(error.message).toContain(part)
    await bench.expectIdle()
  })

  test.each<[string, Fence, string]>([
    ['none', NO_FENCE, 'any healthy node'],
    ['primary', { kind: 'primary' }, 'the primary'],
    ['possibly-lost', LOST, 'the primary'],
  ])('the fence "%s" in words', async (_, fence, required) => {
    const bench = new Bench(newCluster(1))
    await expect(bench.read({ fence })).rejects.toMatchObject({ required })
  })

  test('counts the time spent waiting', async () => {
    const bench = new Bench(clusterAt(100, 50))
    const read = bench.read({ fence: at(95), ladder: [replica(), wait({ budgetMs: 30 })] }).catch(error => error)
    await bench.clock.advance(30)
    expect(await read).toMatchObject({ waitedMs: 30 })
    await bench.expectIdle()
  })

  test('an empty ladder serves nobody', async () => {
    await expect(new Bench(clusterAt(1, 1)).read({ ladder: [] })).rejects.toThrow(NotServedError)
  })
})

describe('the outcome admits what was achieved', () => {
  test('stale is eventual, also when the replica happens to have it', async () => {
    const bench = new Bench(clusterAt(100, 100))
    await bench.clock.advance(5)
    const { outcome } = await bench.read({ fence: at(95), ladder: [stale({ maxLagMs: 50 })] })
    expect(outcome).toEqual(expected({ rung: 'stale', guarantee: 'eventual', stalenessMs: 5 }))
  })

  test('who asked for nothing gets eventual, and who asked for monotonic reads that', async () => {
    const bench = new Bench(clusterAt(100, 100))
    expect((await bench.read({ guarantee: undefined })).outcome.guarantee).toBe('eventual')
    expect((await bench.read({ guarantee: 'monotonic-reads' })).outcome.guarantee).toBe('monotonic-reads')
  })

  test('possibly lost is only for the primary, and said', async () => {
    const bench = new Bench(clusterAt(100, 100))
    const { outcome } = await bench.read({ fence: LOST })
    expect(outcome).toEqual(
      expected({ node: 'p', rung: 'primary', fallback: 'possibly-lost', guarantee: 'eventual', possiblyLost: true }),
    )
  })

  test('possibly lost also when the history changes while the read waits for the old one', async () => {
    const bench = new Bench(clusterAt(100, 50, 50))
    const served = bench.read({ fence: at(95) })
    await bench.clock.advance(10)
    bench.cluster.observe(bench.cluster.node('r1'), answer('primary', 50, 10, { epoch: 2 }))
    await bench.clock.advance(40)
    expect((await served).outcome).toMatchObject({ node: 'r1', rung: 'primary', guarantee: 'eventual', possiblyLost: true })
  })

  test('staleness of a replica is that of its position', async () => {
    const cluster = clusterAt(100, 100)
    const bench = new Bench(cluster)
    await bench.clock.advance(10)
    cluster.observe(cluster.node('p'), answer('primary', 200, 10))
    await bench.clock.advance(5)
    expect((await bench.read({})).outcome.stalenessMs).toBe(15)
  })
})

describe('reroutes', () => {
  const failOn =
    (reason: RerouteReason, ...names: readonly string[]): Attempt<string> =>
    async node => {
      if (names.includes(node.id)) throw new Reroute(reason, new Error(`${node.id} failed`))
      return node.id
    }

  test('the node that could not is left out, another serves', async () => {
    const bench = new Bench(clusterAt(100, 100, 100))
    const heard = listen('tidemark:reroute')
    const { outcome } = await bench.read({ fence: at(95) }, failOn('recovery-conflict', 'r1'))
    expect(outcome).toEqual(expected({ node: 'r2', reroutes: 1 }))
    expect(bench.tried).toEqual(['r1', 'r2'])
    expect(heard).toEqual([{ db: 'default', node: 'r1', reason: 'recovery-conflict', cause: new Error('r1 failed') }])
    await bench.expectIdle()
  })

  test('all replicas fail: the primary', async () => {
    const bench = new Bench(clusterAt(100, 100, 100))
    const { outcome } = await bench.read({ fence: at(95) }, failOn('unreachable', 'r1', 'r2'))
    expect(outcome).toMatchObject({ node: 'p', rung: 'primary', reroutes: 2, guarantee: 'read-your-writes' })
    expect(bench.tried.toSorted()).toEqual(['p', 'r1', 'r2'])
    await bench.expectIdle()
  })

  test('everybody fails: the error says so and keeps the last cause', async () => {
    const bench = new Bench(clusterAt(100, 100))
    const error = await bench.read({ fence: at(95) }, failOn('unreachable', 'r1', 'p')).catch(error => error)
    expect(error).toBeInstanceOf(NotServedError)
    expect(error.cause).toEqual(new Error('p failed'))
    await bench.expectIdle()
  })

  test('what only the primary can do goes there at once, past other replicas and waits', async () => {
    const bench = new Bench(clusterAt(100, 100, 100))
    const { outcome } = await bench.read({ fence: at(95) }, failOn('needs-primary', 'r1', 'r2'))
    expect(outcome).toMatchObject({ node: 'p', rung: 'primary', reroutes: 1 })
    expect(bench.tried).toHaveLength(2)
  })

  test('and within the bound that the ladder sets for it', async () => {
    const bench = new Bench(clusterAt(100, 100))
    const ladder = [replica(), primary({ maxInFlight: 1 })]
    const { attempt, release } = gate()
    const holder = bench.read({ fence: { kind: 'primary' }, ladder }, attempt)
    await expect(bench.read({ fence: at(95), ladder }, failOn('needs-primary', 'r1'))).rejects.toThrow(NotServedError)
    release()
    await holder
    await bench.expectIdle()
  })

  test('and not at all when the ladder has no primary', async () => {
    const bench = new Bench(clusterAt(100, 100, 100))
    const error = await bench.read({ ladder: [replica()] }, failOn('needs-primary', 'r1', 'r2')).catch(error => error)
    expect(error).toBeInstanceOf(NotServedError)
    expect(bench.tried).toHaveLength(1)
  })

  test('a node in a new life is asked again, if what it said qualifies it', async () => {
    const bench = new Bench(clusterAt(100, 100))
    const once: Attempt<string> = async node => {
      if (bench.tried.length > 1) return node.id
      bench.apply('r1', 96, { incarnation: 'life 2' })
      throw new Reroute('new-incarnation')
    }
    expect((await bench.read({ fence: at(95) }, once)).outcome).toMatchObject({ node: 'r1', reroutes: 1 })
    expect(bench.tried).toEqual(['r1', 'r1'])
  })

  test('and left alone if it does not', async () => {
    const bench = new Bench(clusterAt(100, 100))
    const once: Attempt<string> = async node => {
      if (node.id === 'p') return node.id
      bench.apply('r1', 20, { incarnation: 'life 2' })
      throw new Reroute('new-incarnation')
    }
    const served = bench.read({ fence: at(95) }, once)
    await bench.clock.advance(50)
    expect((await served).outcome.node).toBe('p')
    expect(bench.tried).toEqual(['r1', 'p'])
  })

  test('are bounded, and end in the cause', async () => {
    const bench = new Bench(clusterAt(100, 100))
    const cause = new Error('for ever')
    const endless = () => Promise.reject(new Reroute('new-incarnation', cause))
    await expect(bench.read({ fence: at(95) }, endless)).rejects.toBe(cause)
    expect(bench.tried).toHaveLength(9)
    await expect(bench.read({ fence: at(95) }, () => Promise.reject(new Reroute('new-incarnation')))).rejects.toThrow(
      NotServedError,
    )
    await bench.expectIdle()
  })

  test('any other error ends the read as it is, whether thrown or rejected', async () => {
    const bench = new Bench(clusterAt(100, 100))
    const error = new Error('division by zero')
    await expect(bench.read({ fence: at(95) }, () => Promise.reject(error))).rejects.toBe(error)
    const throwing = (): never => {
      throw error
    }
    await expect(bench.read({ fence: at(95) }, throwing)).rejects.toBe(error)
    await expect(bench.read({ fence: { kind: 'primary' } }, throwing)).rejects.toBe(error)
    expect(bench.tried).toEqual(['r1', 'r1', 'p'])
    await bench.expectIdle()
  })
})

describe('waiting', () => {
  test('goes on with what is left of its budget when the node that woke it cannot serve', async () => {
    const bench = new Bench(clusterAt(100, 50, 50))
    const failing = (node: Node) => (node.id === 'r1' ? Promise.reject(new Reroute('busy')) : Promise.resolve(node.id))
    const served = bench.read({ fence: at(95), ladder: [replica(), wait({ budgetMs: 40 }), primary()] }, failing)
    await bench.clock.advance(30)
    bench.apply('r1', 95)
    await bench.clock.advance(9)
    expect(bench.tried).toEqual(['r1'])
    await bench.clock.advance(1)
    expect((await served).outcome).toMatchObject({ node: 'p', rung: 'primary', waitedMs: 40, reroutes: 1 })
    await bench.expectIdle()
  })

  test('has one budget a read: a reroute after it is spent does not begin another', async () => {
    const bench = new Bench(clusterAt(100, 50))
    const failing = () => Promise.reject(new Reroute('unreachable', new Error('down')))
    const ladder = [replica(), wait({ budgetMs: 40 }), primary()]
    const read = bench.read({ fence: at(95), ladder }, failing).catch(error => error)
    await bench.clock.advance(40)
    expect(await read).toMatchObject({ code: 'TIDEMARK_NOT_SERVED', waitedMs: 40 })
    await bench.expectIdle()
  })

  test('two waits have a budget each', async () => {
    const bench = new Bench(clusterAt(100, 50))
    const ladder: Ladder = [replica(), wait({ budgetMs: 10 }), wait({ budgetMs: 30 }), primary()]
    const served = bench.read({ fence: at(95), ladder })
    await bench.clock.advance(39)
    expect(bench.tried).toEqual([])
    await bench.clock.advance(1)
    expect((await served).outcome).toMatchObject({ node: 'p', waitedMs: 40 })
  })

  test('cannot be kept alive by wakes for nothing', async () => {
    const bench = new Bench(clusterAt(100, 50, 50))
    const failing = (node: Node) => (node.id === 'r1' ? Promise.reject(new Reroute('busy')) : Promise.resolve(node.id))
    const ladder = [replica(), wait({ budgetMs: 1_000 }), primary()]
    const served = bench.read({ fence: at(95), ladder }, failing)
    // r1 has it and is excluded; each of its answers wakes the read again.
    for (let i = 0; i < 20 && bench.tried.at(-1) !== 'p'; i++) {
      await bench.clock.advance(1)
      bench.apply('r1', 95 + i)
    }
    expect((await served).outcome.node).toBe('p')
    await bench.expectIdle()
  })

  test('is skipped at once when it cannot succeed', async () => {
    const bench = new Bench(clusterAt(100, 50))
    bench.cluster.node('r1').lagMs = 10_000
    expect((await bench.read({ fence: at(95) })).outcome).toMatchObject({ node: 'p', waitedMs: 0 })
  })

  test('many reads wait at once and all are served by the replica that catches up', async () => {
    const bench = new Bench(clusterAt(1_000, 0))
    const reads = Array.from({ length: 500 }, (_, i) => bench.read({ fence: at(i + 1) }))
    expect(bench.room.size).toBe(500)
    await bench.clock.advance(5)
    bench.apply('r1', 500)
    const outcomes = (await Promise.all(reads)).map(({ outcome }) => `${outcome.node} ${outcome.rung} ${outcome.waitedMs}`)
    expect(new Set(outcomes)).toEqual(new Set(['r1 wait 5']))
    await bench.expectIdle()
  })
})

describe('abort', () => {
  test('before it begins: nothing is tried', async () => {
    const bench = new Bench(clusterAt(100, 100))
    await expect(bench.read({ signal: AbortSignal.abort('no') })).rejects.toBe('no')
    expect(bench.tried).toEqual([])
  })

  test('while it waits: at once, and it tries nobody', async () => {
    const bench = new Bench(clusterAt(100, 50))
    const controller = new AbortController()
    const read = bench.read({ fence: at(95), signal: controller.signal }).catch(reason => reason)
    await bench.clock.advance(5)
    controller.abort('enough')
    expect(await read).toBe('enough')
    expect(bench.tried).toEqual([])
    await bench.expectIdle()
  })

  test('between two attempts: the second is not made', async () => {
    const bench = new Bench(clusterAt(100, 100, 100))
    const controller = new AbortController()
    const failing = async () => {
      controller.abort('enough')
      throw new Reroute('busy')
    }
    await expect(bench.read({ fence: at(95), signal: controller.signal }, failing)).rejects.toBe('enough')
    expect(bench.tried).toHaveLength(1)
    await bench.expectIdle()
  })
})
