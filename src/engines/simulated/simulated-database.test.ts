import { describe, expect, test } from 'vitest'
import { simulatedWorld } from '../../../test/engines/simulated-kit.js'
import { notReady, primary, replica, sessionCache } from '../../core/ladder.js'
import type { ConsistencyToken } from '../../core/token/codec.js'
import { memoryTokenStore } from '../../core/token-store.js'
import { SimulatedCluster } from './cluster.js'
import { SimulatedLeaderlessCluster } from './leaderless-cluster.js'
import { ServerError } from './protocol.js'
import type { ServerCluster } from './server-cluster.js'
import type { ServerProcess } from './server-process.js'
import { type SimulatedDatabaseConfig, simulatedDatabase } from './simulated-database.js'
import type { Simulation } from './simulation.js'

const SECRET = 'a secret for simulated tokens'

async function opened<C extends ServerCluster<ServerProcess>>(
  create: (simulation: Simulation) => C,
  config: Partial<SimulatedDatabaseConfig> = {},
  seed?: number,
) {
  const world = simulatedWorld(create, seed)
  const { cluster, simulation, during } = world
  const clock = simulation.clock('router')
  const db = await during(() => simulatedDatabase(cluster, { from: 'router', clock, secret: SECRET, ...config }))
  return { ...world, db }
}

const physical = (simulation: Simulation) => new SimulatedCluster(simulation)
const leaderless = (simulation: Simulation) => new SimulatedLeaderlessCluster(simulation)

describe('a session', () => {
  test('reads what it wrote, from whoever has it, on another device too', async () => {
    const { cluster, db, during } = await opened(physical)
    cluster.pauseReplay('b')
    const session = db.session()
    expect(
      await during(() =>
        session.write([
          ['k', '1'],
          ['l', '2'],
        ]),
      ),
    ).toEqual([
      { key: 'k', value: '1', prev: null },
      { key: 'l', value: '2', prev: null },
    ])
    const other = db.session(session.token())
    expect(await during(() => other.read(['l', 'k', 'm']))).toEqual([
      { key: 'l', value: '2', prev: null },
      { key: 'k', value: '1', prev: null },
      { key: 'm', value: null, prev: null },
    ])
    expect(other.lastOutcome).toMatchObject({ guarantee: 'read-your-writes' })
    expect(other.lastOutcome?.node).not.toBe('b')
    await during(() => db.close())
  })

  test('is not held up by what it has not written, when scopes tell', async () => {
    const { cluster, db, during } = await opened(physical, { ladder: [replica(), notReady({ retryAfterMs: 10 })] })
    for (const id of ['b', 'c']) cluster.pauseReplay(id)
    const session = db.session()
    await during(() => session.write([['k', '1']], { scope: 'mine' }))
    await expect(during(() => session.read(['k'], { scope: 'mine' }))).rejects.toMatchObject({ code: 'TIDEMARK_NOT_READY' })
    expect(await during(() => session.read(['l'], { scope: 'other' }))).toMatchObject([{ value: null }])
  })

  test('its own values are served from its cache while nobody else has them', async () => {
    const { cluster, db, during } = await opened(physical, { ladder: [replica(), sessionCache({ ttlMs: 60_000 }), primary()] })
    for (const id of ['b', 'c']) cluster.pauseReplay(id)
    const session = db.session(undefined, { user: 'ann' })
    // A known user without a token may have written elsewhere: the primary settles that.
    await during(() => session.read(['k']))
    await during(() => session.write([['k', '1']], { cache: 'the k' }))
    expect(await during(() => session.read(['k'], { cache: 'the k' }))).toEqual([{ key: 'k', value: '1', prev: null }])
    expect(session.lastOutcome?.rung).toBe('sessionCache')
    const stranger = db.session(undefined, { user: 'bob' })
    await during(() => stranger.read(['k'], { cache: 'the k' }))
    expect(stranger.lastOutcome?.rung).not.toBe('sessionCache')
  })

  test('a transaction takes effect as a whole, or not at all', async () => {
    const { db, during } = await opened(physical)
    const session = db.session()
    const seen = await during(() =>
      session.transaction(async transaction => {
        await transaction.write([['k', '1']])
        await transaction.write([
          ['k', '2'],
          ['l', '3'],
        ])
        return transaction.read(['k'])
      }),
    )
    expect(seen).toEqual([{ key: 'k', value: '2', prev: '1' }])
    const failed = during(() =>
      session.transaction(async transaction => {
        await transaction.write([['k', '4']])
        throw new Error('changed my mind')
      }),
    )
    await expect(failed).rejects.toThrow('changed my mind')
    expect(await during(() => session.read(['k', 'l']))).toMatchObject([{ value: '2' }, { value: '3' }])
    const readOnly = { readOnly: true }
    const nodes = new Set<string | undefined>()
    for (let i = 0; i < 10; i++) {
      const rows = await during(() => session.transaction(transaction => transaction.read(['k']), readOnly))
      expect(rows).toMatchObject([{ value: '2' }])
      nodes.add(session.lastOutcome?.node)
    }
    expect(nodes.has('b') || nodes.has('c')).toBe(true)
    const refused = during(() => session.transaction(transaction => transaction.write([['k', '5']]), readOnly))
    await expect(refused).rejects.toBeInstanceOf(ServerError)
  })

  test('a write whose answer is lost makes it uncertain, and the primary settles that', async () => {
    const { cluster, db, during, pass } = await opened(physical)
    const session = db.session()
    await during(() => session.write([['k', '1']]))
    cluster.cut('a', 'router', { oneWay: true })
    const answer = session.write([['k', '2']]).catch(String)
    await pass(50)
    cluster.reset('router', 'a')
    cluster.heal('a', 'router')
    expect(await during(() => answer)).toContain('reset')
    expect(session.history.uncertain).toBe(true)
    expect(await during(() => session.read(['k']))).toMatchObject([{ value: '2', prev: '1' }])
    expect(session.lastOutcome?.node).toBe('a')
    expect(session.history.uncertain).toBe(false)
  })

  test.each([
    { far: 'asks', heals: true, outcome: { node: 'b', guarantee: 'read-your-writes', possiblyLost: false }, value: '2' },
    { far: 'asks in vain', heals: false, outcome: { node: 'a', guarantee: 'eventual', possiblyLost: true }, value: '1' },
  ])(
    'a write whose answer is lost is looked for in the history that it was sent to, by a router that has not heard of it and $far',
    async ({ heals, outcome, value }) => {
      const { cluster, simulation, db, during, pass } = await opened(physical)
      const clock = simulation.clock('far')
      const far = await during(() => simulatedDatabase(cluster, { from: 'far', clock, secret: SECRET, pollIntervalMs: 10_000 }))
      const session = db.session()
      await during(() => session.write([['k', '1']]))
      await pass(1_000)
      // Two primaries, and one router knows only of the old one.
      cluster.cut('far', 'b')
      cluster.promote('b')
      await pass(1_000)
      await during(() => db.session().write([['l', 'over a connection that the next one finds']]))
      cluster.cut('b', 'router', { oneWay: true })
      const answer = session.write([['k', '2']]).catch(String)
      await pass(50)
      cluster.reset('router', 'b')
      expect(await during(() => answer)).toContain('reset')
      expect(session.history.uncertain).toBe(true)
      if (heals) cluster.heal('far', 'b')
      const other = far.session(session.token())
      expect(far.core.cluster.primary?.id).toBe('a')
      expect(await during(() => other.read(['k']))).toMatchObject([{ value }])
      expect(other.lastOutcome).toMatchObject(outcome)
      expect(other.history.uncertain).toBe(false)
    },
  )

  test('a write whose answer was lost with its server is shown by the next primary, which has no loss to tell of', async () => {
    const { cluster, db, during, pass } = await opened(physical)
    const session = db.session()
    await during(() => session.write([['k', '1']]))
    cluster.cut('a', 'router', { oneWay: true })
    const answer = session.write([['k', '2']]).catch(String)
    await pass(50)
    cluster.powerOff('a')
    cluster.promote('b')
    await during(() => answer)
    expect(session.history.uncertain).toBe(true)
    await pass(2_000)
    expect(await during(() => session.read(['k']))).toMatchObject([{ value: '2' }])
    expect(session.lastOutcome).toMatchObject({ node: 'b', guarantee: 'read-your-writes', possiblyLost: false })
  })

  test.each([
    ['a primary', physical],
    ['peers', leaderless],
  ])('%s: an acknowledged write whose position was lost is known on the other devices of its user', async (_, create) => {
    const { cluster, db, during, pass } = await opened<ServerCluster<ServerProcess>>(create, {
      store: memoryTokenStore(),
      ladder: [replica(), primary()],
    })
    const device = () => db.session(undefined, { user: 'ann' })
    await during(() => device().write([['before', '1']]))
    await pass(2_000)
    for (const from of cluster.ids) for (const to of cluster.ids) if (from !== to) cluster.cut(from, to)
    const session = device()
    const rows = await during(() =>
      db.core.executor.write(session, {}, async lease => {
        const { rows } = await lease.connection.request({ kind: 'write', values: [['k', '2']], asyncCommit: false })
        return { result: rows, captured: undefined, release: () => lease.release() }
      }),
    )
    // Its own token says that something is in doubt, as ever; the others have none.
    expect(session.history.uncertain).toBe(true)
    for (let i = 0; i < 6; i++) {
      const other = device()
      expect(await during(() => other.read(['k']))).toContainEqual(rows[0])
      expect(other.lastOutcome?.guarantee).toBe('read-your-writes')
    }
    await during(() => db.close())
  })

  test('a connection that outlives a promotion is asked again before it takes a write', async () => {
    const { cluster, db, during, pass } = await opened(physical, { ladder: [replica()] })
    for (let i = 0; i < 5; i++) await during(() => db.session().read(['k']))
    const { size } = cluster.server('b').backends
    expect(size).toBe(2)
    cluster.promote('b')
    await pass(2_000)
    const session = db.session()
    await during(() => session.write([['k', 'new']]))
    expect(session.history.writes.entries[0]?.lineage).toMatch(/\/2$/)
    expect([cluster.server('b').data.get('k')?.value, cluster.server('b').backends.size]).toEqual(['new', size])
  })

  test('behind a balanced address, a server is asked where it is before its snapshot is taken', async () => {
    const nodes = [{ id: 'a' }, { id: 'readers', balanced: true }]
    const create = (simulation: Simulation) => {
      const cluster = new SimulatedCluster(simulation, { times: { replayMs: [0.5, 4] } })
      cluster.balance('readers', ['b', 'c'])
      // What is sent together arrives bit by bit, and the servers get on meanwhile.
      for (const id of ['b', 'c']) cluster.setLink('router', id, { delayMs: 0.1, jitterMs: 3 })
      return cluster
    }
    const { db, during } = await opened(create, { nodes, ladder: [replica(), primary()] })
    const served = new Set<string>()
    const missed: number[] = []
    for (let i = 0; i < 200; i++) {
      const session = db.session()
      await during(() => session.write([['k', String(i)]]))
      const [row] = await during(() => session.read(['k']))
      served.add(session.lastOutcome!.node)
      if (row?.value !== String(i)) missed.push(i)
    }
    expect(missed).toEqual([])
    expect(served).toEqual(new Set(['a', 'readers']))
  })

  test('a statement that is given up is cut, and so is one that takes too long', async () => {
    const { cluster, db, during, simulation } = await opened(physical, { statementTimeoutMs: 300, ladder: [primary()] })
    await during(() => db.session().read(['k']))
    cluster.freeze('a')
    const startedAt = simulation.now()
    await expect(during(() => db.session().write([['k', '1']]))).rejects.toThrow('did not answer in time')
    expect(simulation.now() - startedAt).toBeLessThan(400)
    cluster.thaw('a')
    await during(() => db.session().read(['k']))
    const controller = new AbortController()
    cluster.freeze('a')
    const given = db.session().write([['k', '2']], { signal: controller.signal })
    simulation.after(50, () => controller.abort(new Error('given up')))
    await expect(during(() => given)).rejects.toThrow('given up')
  })

  test('no more connections are opened than allowed; who waits too long for one is told', async () => {
    const config = { maxConnections: 2, connectTimeoutMs: 100, statementTimeoutMs: 10_000, ladder: [primary()] }
    const { cluster, db, during } = await opened(physical, config)
    await during(() => Promise.all(Array.from({ length: 20 }, () => db.session().read(['k']))))
    // The monitor has one of its own.
    expect(cluster.server('a').backends.size).toBe(3)
    cluster.delay('a', 'router', 1_000)
    const reads = await during(() => Promise.allSettled(Array.from({ length: 5 }, () => db.session().read(['k']))))
    expect(reads.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'rejected', 'rejected'])
  })
})

describe('leaderless', () => {
  test('a write goes to a peer near by, and is read from any that has applied it', async () => {
    const servers = [
      { id: 'a', region: 'eu' },
      { id: 'b', region: 'us' },
    ]
    const create = (simulation: Simulation) => new SimulatedLeaderlessCluster(simulation, { servers })
    const { db, during, pass } = await opened(create, { region: 'us' })
    const session = db.session()
    expect(await during(() => session.write([['k', '1']]))).toEqual([{ key: 'k@b.1', value: '1', prev: null }])
    await pass(1_000)
    const far = await opened(create, { region: 'eu' })
    expect(await far.during(() => far.db.session().read(['k']))).toEqual([
      { key: 'k@a.1', value: null, prev: null },
      { key: 'k@b.1', value: null, prev: null },
    ])
    expect(await during(() => db.session(session.token()).read(['k']))).toContainEqual({ key: 'k@b.1', value: '1', prev: null })
  })

  test('the end of a log that came back from an older copy is told to be possibly lost, once, unless others have it', async () => {
    for (const kept of [false, true]) {
      const { cluster, db, during, pass } = await opened(leaderless)
      const session = db.session()
      if (!kept) for (const id of cluster.ids) for (const other of cluster.ids) if (other !== id) cluster.cut(other, id)
      const [row] = await during(() => session.write([['k', '1']]))
      const writer = row!.key.slice(2, 3)
      await pass(50)
      cluster.rebuild(writer, { ageMs: 60 })
      // What was on its way to the others when the link was cut would arrive yet.
      if (!kept) for (const id of cluster.ids) if (id !== writer) cluster.restart(id)
      for (const id of cluster.ids) for (const other of cluster.ids) if (other !== id) cluster.heal(other, id)
      await pass(2_000)
      const rows = await during(() => session.read(['k']))
      expect(rows.find(({ key }) => key === row!.key)?.value).toBe(kept ? '1' : null)
      expect(session.lastOutcome?.possiblyLost).toBe(!kept)
      await during(() => session.read(['k']))
      expect(session.lastOutcome?.possiblyLost).toBe(false)
    }
  })

  test('a peer whose clock runs ahead is not taken from, until it is set right', async () => {
    const { cluster, open, write, show, pass } = simulatedWorld(leaderless)
    cluster.jumpClock('a', 60_000)
    await write(await open('a'), 'from the future')
    await pass(2_000)
    expect(await show('b')).toBe(undefined)
    // Its stamps do not go back with its clock; the others are let wait until their clocks have passed them.
    cluster.jumpClock('a', -60_000)
    await pass(70_000)
    expect(await show('b')).toBe('from the future')
  })

  test('stamps of a log grow across lives, whatever the clock does', async () => {
    const { cluster, open, write, pass } = simulatedWorld(leaderless)
    const { log } = cluster.server('a')
    for (let i = 0; i < 10; i++) {
      cluster.jumpClock('a', -1_000)
      await write(await open('a'), String(i))
      cluster.stop('a')
      cluster.restart('a')
      await pass(1)
    }
    expect(cluster.server('a').log).toBe(log)
    const stamps = cluster
      .server('a')
      .recordsOf(log)
      .map(({ record }) => record.stamp)
    expect(stamps.length).toBeGreaterThan(20)
    expect(stamps.every((stamp, i) => i === 0 || stamp > stamps[i - 1]!)).toBe(true)
  })

  test('after a crash a peer writes another log, and the old one may be had from the others', async () => {
    const { cluster, open, write, show, pass } = simulatedWorld(leaderless)
    const peer = cluster.server('a')
    const { log } = peer
    await write(await open('a'), 'kept by others', { asyncCommit: true })
    await pass(20)
    cluster.cut('a', 'b')
    cluster.cut('a', 'c')
    cluster.restart('a')
    expect(peer.log).not.toBe(log)
    expect(await show('a')).toBe(undefined)
    cluster.heal('a', 'b')
    cluster.heal('a', 'c')
    await pass(1_000)
    expect(await show('a')).toBe('kept by others')
  })
})

/** Each client writes and reads a key of its own, on the router's sessions, from token to token. */
async function story(create: (simulation: Simulation) => ServerCluster<ServerProcess>, seed: number) {
  const { cluster, simulation, db, during } = await opened(create, {}, seed)
  const random = simulation.random('story')
  const counts = { fenced: 0, stale: [] as string[], failed: 0, lost: 0 }
  let busy = 0
  const client = async (name: string) => {
    busy++
    let token: ConsistencyToken | undefined
    /** By register, what was acknowledged last; emptied when that may not hold any more. */
    let written = new Map<string, string>()
    for (let i = 0; i < 30; i++) {
      const session = db.session(token)
      try {
        if (random.chance(0.4)) {
          const rows = await session.write([[name, `${i}`]])
          for (const { key, value } of rows) written.set(key, value!)
        } else {
          const rows = await session.read([name])
          const { possiblyLost, guarantee, node } = session.lastOutcome!
          simulation.note(`${node} ${JSON.stringify(rows)}`)
          if (possiblyLost) {
            counts.lost++
            written = new Map()
          } else if (guarantee === 'read-your-writes') {
            counts.fenced++
            for (const [key, value] of written) {
              if (rows.find(row => row.key === key)?.value !== value) counts.stale.push(`${key} is not ${value} on ${node}`)
            }
          }
        }
      } catch {
        counts.failed++
        written = new Map()
      }
      token = session.token()
      await simulation.sleep(random.between(0, 30))
    }
    busy--
  }
  const fault = () => {
    const id = random.pick(cluster.ids)
    const end = (run: () => void) => void simulation.after(random.between(0, 400), run)
    const kind = random.below(6)
    if (kind === 0) cluster.restart(id)
    if (kind === 1) {
      cluster.freeze(id)
      end(() => cluster.thaw(id))
    }
    if (kind === 2) {
      cluster.pauseReplay(id)
      end(() => cluster.resumeReplay(id))
    }
    if (kind === 3) {
      cluster.cut('router', id)
      end(() => cluster.heal('router', id))
    }
    if (kind === 4) cluster.unreliable('router', id, random.between(0, 0.1))
    if (kind === 5 && cluster instanceof SimulatedCluster && cluster.server(id).recovering) {
      cluster.promote(id)
      for (const other of cluster.ids) if (other !== id) cluster.rebuild(other, { from: id, ageMs: random.between(0, 50) })
    }
    if (kind === 5 && cluster instanceof SimulatedLeaderlessCluster) cluster.rebuild(id, { ageMs: random.between(0, 200) })
    if (busy > 0) simulation.after(random.between(0, 150), fault)
  }
  const clients = ['ann', 'bob', 'cid', 'dan'].map(client)
  fault()
  await during(() => Promise.all(clients))
  await during(() => db.close())
  return { ...counts, world: `${simulation.digest} ${simulation.events}` }
}

test.each([
  ['with a primary', physical],
  ['leaderless', leaderless],
] as const)('whatever happens, a fenced read misses nothing, and the same seed gives the same story: %s', async (_, create) => {
  const sums = { fenced: 0, failed: 0, lost: 0 }
  for (let seed = 0; seed < 8; seed++) {
    const first = await story(create, seed)
    expect(first.stale).toEqual([])
    expect(await story(create, seed)).toEqual(first)
    sums.fenced += first.fenced
    sums.failed += first.failed
    sums.lost += first.lost
  }
  // Neither did nothing happen, nor did nothing work.
  expect(sums.fenced).toBeGreaterThan(200)
  expect(sums.failed).toBeGreaterThan(10)
  // Of a log that loses its end, others mostly have it: see the test above.
  if (create === physical) expect(sums.lost).toBeGreaterThan(0)
})
