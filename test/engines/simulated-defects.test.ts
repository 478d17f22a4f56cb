/** What `npm run sim` has found in the core, each played by hand. */
import { describe, expect, test } from 'vitest'
import { memoryCacheStore } from '../../src/core/cache-store.js'
import { fencedCache } from '../../src/core/fenced-cache.js'
import { type Ladder, primary, replica, sessionCache, stale } from '../../src/core/ladder.js'
import { quorum } from '../../src/core/quorum.js'
import { SimulatedCluster } from '../../src/engines/simulated/cluster.js'
import { SimulatedLeaderlessCluster } from '../../src/engines/simulated/leaderless-cluster.js'
import type { ServerCluster } from '../../src/engines/simulated/server-cluster.js'
import type { ServerProcess } from '../../src/engines/simulated/server-process.js'
import { type SimulatedDatabaseConfig, simulatedDatabase } from '../../src/engines/simulated/simulated-database.js'
import type { SimulatedSession } from '../../src/engines/simulated/simulated-session.js'
import type { Simulation } from '../../src/engines/simulated/simulation.js'
import { simulatedWorld } from './simulated-kit.js'

async function opened<C extends ServerCluster<ServerProcess>>(
  create: (simulation: Simulation) => C,
  config: Partial<SimulatedDatabaseConfig> = {},
) {
  const world = simulatedWorld(create)
  const { cluster, simulation, during } = world
  const clock = simulation.clock('router')
  const db = await during(() =>
    simulatedDatabase(cluster, { from: 'router', clock, secret: 'a secret for simulated tokens', ...config }),
  )
  return { ...world, clock, db }
}

const physical = (simulation: Simulation) => new SimulatedCluster(simulation)

describe('who joins a load under way', () => {
  const degrading: Ladder = [stale({ maxLagMs: 60_000 })]
  const strict: Ladder = [primary()]

  test("is not given what another read's ladder has let degrade: the author's own values", async () => {
    const { cluster, db, during, pass } = await opened(physical)
    const author = db.session(undefined, { user: 'ann' })
    await during(() => author.write([['k', '1']]))
    // A user of whom nothing was known is certain after a look at the primary.
    await during(() => author.read(['k']))
    await pass(1_000)
    for (const id of ['b', 'c']) cluster.pauseReplay(id)
    await during(() => author.write([['k', '2']]))
    const of = () => db.session(author.token(), { user: 'ann' })
    const [first, second] = [of(), of()]
    const [degraded, own] = await during(() =>
      Promise.all([first.read(['k'], { cache: 'k', ladder: degrading }), second.read(['k'], { cache: 'k', ladder: strict })]),
    )
    // The control: the first read was behind, as its ladder allows.
    expect(degraded).toMatchObject([{ value: '1' }])
    expect(own).toMatchObject([{ value: '2' }])
    expect(second.lastOutcome).toMatchObject({ guarantee: 'read-your-writes' })
  })

  test("is not given what another read's ladder has let degrade: the shared cache", async () => {
    const { cluster, clock, db, during, pass } = await opened(physical)
    const cache = fencedCache(memoryCacheStore(), { clock })
    const author = db.session()
    await during(() => author.write([['k', '1']]))
    await pass(1_000)
    for (const id of ['b', 'c']) cluster.pauseReplay(id)
    await during(() => author.write([['k', '2']]))
    const get = (ladder: Ladder) =>
      cache.get(
        db.session(author.token()),
        'k',
        async (session: SimulatedSession) => (await session.read(['k'], { ladder }))[0]!.value,
      )
    expect(await during(() => Promise.all([get(degrading), get(strict)]))).toEqual(['1', '2'])
  })

  test('of a session with monotonic reads, does not: only the session that sends a read learns what it has shown', async () => {
    const { db, during, pass } = await opened(physical)
    await during(() => db.write([['k', '1']]))
    const of = (token?: string) => db.session(token, { user: 'ann', guarantee: 'monotonic-reads' })
    // Known, and certain of what it wrote, which is nothing.
    const begin = of()
    await during(() => begin.read(['k']))
    await during(() => db.write([['k', '2']]))
    await pass(1_000)
    const [first, second] = [of(begin.token()), of(begin.token())]
    await during(() => Promise.all([first.read(['k'], { cache: 'k' }), second.read(['k'], { cache: 'k' })]))
    for (const { history } of [first, second]) expect(history.reads.compare(begin.history.reads)).toBe('after')
  })
})

describe("a caller's deadline ends", () => {
  test('the questions of a quorum', async () => {
    const { cluster, db, during, simulation } = await opened(physical, { ladder: [quorum()], writePolicy: quorum() })
    const session = db.session()
    await during(() => session.write([['k', '1']]))
    for (const id of cluster.ids) cluster.freeze(id)
    const controller = new AbortController()
    const startedAt = simulation.now()
    simulation.after(20, () => controller.abort(new Error('given up')))
    await expect(during(() => session.read(['k'], { signal: controller.signal }))).rejects.toThrow('given up')
    expect(simulation.now() - startedAt).toBe(20)
  })

  test('the look for a later primary', async () => {
    const { cluster, db, during, simulation, pass } = await opened(physical)
    cluster.cut('router', 'b')
    cluster.promote('b')
    const elsewhere = simulation.clock('elsewhere')
    const other = await during(() =>
      simulatedDatabase(cluster, { from: 'elsewhere', clock: elsewhere, secret: 'a secret for simulated tokens' }),
    )
    await pass(1_000)
    const author = other.session()
    await during(() => author.write([['k', '1']]))
    const works: readonly ((session: SimulatedSession, signal: AbortSignal) => Promise<unknown>)[] = [
      (session, signal) => session.read(['k'], { signal }),
      (session, signal) => session.write([['k', '2']], { signal }),
      (session, signal) => session.transaction(async () => {}, { signal }),
    ]
    for (const work of works) {
      const controller = new AbortController()
      const startedAt = simulation.now()
      simulation.after(20, () => controller.abort(new Error('given up')))
      await expect(during<unknown>(() => work(db.session(author.token()), controller.signal))).rejects.toThrow('given up')
      expect(simulation.now() - startedAt).toBe(20)
    }
  })
})

test('a transaction of a leaderless cluster runs on a peer that has what its session wrote', async () => {
  const servers = [
    { id: 'a', region: 'eu' },
    { id: 'b', region: 'us' },
  ]
  const create = (simulation: Simulation) => new SimulatedLeaderlessCluster(simulation, { servers })
  const { cluster, db, during, simulation } = await opened(create, { region: 'eu' })
  const [from, secret] = ['elsewhere', 'a secret for simulated tokens']
  const far = await during(() => simulatedDatabase(cluster, { from, clock: simulation.clock(from), secret, region: 'us' }))
  cluster.cut('a', 'b')
  const session = db.session()
  const [written] = await during(() => session.write([['k', '1']]))
  expect(written).toMatchObject({ key: 'k@a.1' })
  // The control: without a token it runs on the peer near by, which has not got the write.
  const read = (token?: string) => during(() => far.session(token).transaction(transaction => transaction.read(['k'])))
  expect(await read()).not.toContainEqual(written)
  expect(await read(session.token())).toContainEqual(written)
})

test('who gives up before a loss can be told is told by the next read', async () => {
  const { cluster, db, during, pass } = await opened(physical, { lostWrites: 'error' })
  for (const id of ['b', 'c']) cluster.cut('a', id)
  const session = db.session()
  await during(() => session.write([['k', '1']]))
  cluster.powerOff('a')
  cluster.promote('b')
  await pass(1_000)
  const controller = new AbortController()
  const read = during(() => session.read(['k'], { signal: controller.signal }))
  controller.abort(new Error('given up'))
  await expect(read).rejects.toThrow('given up')
  // What was under way for the one who gave up comes to its end.
  await pass(1_000)
  await expect(during(() => session.read(['k']))).rejects.toMatchObject({ code: 'TIDEMARK_LOST_WRITE' })
  // Told once.
  await expect(during(() => session.read(['k']))).resolves.toMatchObject([{ value: null }])
})

test('a stale read of a leaderless cluster settles nothing: the peer that serves it may lack what another has', async () => {
  const { cluster, db, during, pass } = await opened(simulation => new SimulatedLeaderlessCluster(simulation))
  await pass(1_000)
  // A user of whom nothing is known, while one of the peers cannot be asked.
  const session = db.session(undefined, { user: 'ann' })
  cluster.freeze('c')
  await during(() => session.read(['k'], { ladder: [stale({ maxLagMs: 60_000 })] }))
  expect(session.lastOutcome).toMatchObject({ rung: 'stale', guarantee: 'eventual' })
  expect(session.history.uncertain).toBe(true)
  await expect(during(() => session.read(['k'], { ladder: [primary()] }))).rejects.toThrow()
  // The control: once all have been heard, it is settled.
  cluster.thaw('c')
  await during(() => session.read(['k'], { ladder: [primary()] }))
  expect(session.history.uncertain).toBe(false)
})

test("an author's own value that serves monotonic reads is remembered as read", async () => {
  const { cluster, db, during, pass } = await opened(physical)
  const of = (token?: string) => db.session(token, { user: 'ann', guarantee: 'monotonic-reads' })
  const reader = of()
  await during(() => reader.read(['k']))
  await pass(1_000)
  for (const id of ['b', 'c']) cluster.pauseReplay(id)
  const author = of(reader.token())
  await during(() => author.write([['k', '1']], { cache: 'k' }))
  const cached = await during(() => reader.read(['k'], { cache: 'k', ladder: [sessionCache(), primary()] }))
  expect(cached).toMatchObject([{ value: '1' }])
  expect(reader.lastOutcome).toMatchObject({ rung: 'sessionCache' })
  expect(await during(() => reader.read(['k'], { ladder: [replica(), primary()] }))).toMatchObject([{ value: '1' }])
})
