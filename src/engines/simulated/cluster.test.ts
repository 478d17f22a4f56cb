import { describe, expect, test } from 'vitest'
import { simulatedWorld, writeTo } from '../../../test/engines/simulated-kit.js'
import { SimulatedCluster } from './cluster.js'

const world = (seed?: number) => simulatedWorld(simulation => new SimulatedCluster(simulation), seed)

describe('replication', () => {
  test('a write is read from the primary at once, and from a standby once it has been replayed', async () => {
    const { cluster, open, read, write, pass } = world()
    cluster.pauseReplay('b')
    const primary = await open('a')
    const standby = await open('b')
    expect(await write(primary, '1')).toEqual({ key: 'k', value: '1', prev: null })
    expect(await write(primary, '2')).toEqual({ key: 'k', value: '2', prev: '1' })
    expect(await read(primary)).toBe('2')
    await pass(1_000)
    expect(await read(standby)).toBe(undefined)
    cluster.resumeReplay('b')
    await pass(100)
    expect(await read(standby)).toBe('2')
    await expect(write(standby, '3')).rejects.toMatchObject({ code: 'read-only' })
  })

  test('a standby shows a commit before its replay position includes it', async () => {
    const { cluster, open, write, pass } = world()
    const primary = await open('a')
    let seen = 0
    for (let i = 0; i < 20; i++) {
      await write(primary, String(i))
      const { end } = cluster.server('a').wal
      for (let step = 0; step < 400; step++) {
        await pass(0.01)
        const standby = cluster.server('b')
        if (standby.data.get('k')?.value === String(i) && standby.replayPosition < end) seen++
      }
      await pass(10)
      expect(cluster.server('b').replayPosition).toBe(cluster.server('a').wal.end)
    }
    expect(seen).toBeGreaterThan(20)
  })

  test('only what is on disk is streamed', async () => {
    const times = { flushMs: [10, 10] } as const
    const { open, show, pass } = simulatedWorld(simulation => new SimulatedCluster(simulation, { times }))
    const [one, other] = [await open('a'), await open('a')]
    const durable = writeTo(one, '1', { key: 'durable' })
    await pass(2)
    // Behind the other in the log: the flush that is under way does not include it.
    const quick = writeTo(other, '2', { key: 'quick', asyncCommit: true })
    await pass(20)
    await Promise.all([durable, quick])
    expect([await show('a', 'durable'), await show('b', 'durable')]).toEqual(['1', '1'])
    expect([await show('a', 'quick'), await show('b', 'quick')]).toEqual(['2', undefined])
    await pass(1_000)
    expect(await show('b', 'quick')).toBe('2')
  })

  test('a delayed standby applies nothing earlier', async () => {
    const { cluster, open, write, show, pass } = world()
    cluster.delayReplay('b', 500)
    await write(await open('a'), '1')
    await pass(400)
    expect(await show('b')).toBe(undefined)
    expect(await show('c')).toBe('1')
    await pass(200)
    expect(await show('b')).toBe('1')
  })

  test('a standby that is cut off catches up when the link is whole again', async () => {
    const { cluster, open, write, show, pass } = world()
    cluster.cut('a', 'b')
    await write(await open('a'), '1')
    await pass(5_000)
    expect(await show('b')).toBe(undefined)
    cluster.heal('a', 'b')
    await pass(100)
    expect(await show('b')).toBe('1')
  })
})

describe('lives', () => {
  test('an asynchronous commit is answered, seen, and lost in a crash, on the same timeline', async () => {
    const { cluster, open, read, write, during, show } = world()
    const before = await open('a')
    await write(before, 'kept')
    await write(before, 'lost', { asyncCommit: true })
    expect(await read(before)).toBe('lost')
    const { insert, flush } = await during(() => before.request({ kind: 'log-end' }))
    expect(insert).toBeGreaterThan(flush)
    cluster.crash('a')
    await expect(read(before)).rejects.toThrow('gone away')
    await expect(open('a')).rejects.toThrow('refused')
    cluster.restart('a')
    expect(await show('a')).toBe('kept')
    expect(cluster.server('a').wal.timeline).toBe(1)
    expect(cluster.versions.map(({ value }) => value)).toEqual(['kept', 'lost'])
  })

  test('an asynchronous commit that was flushed in time is kept; so is one at an orderly stop', async () => {
    const { cluster, open, write, show, pass } = world()
    await write(await open('a'), 'flushed', { asyncCommit: true })
    await pass(1_000)
    cluster.restart('a')
    expect(await show('a')).toBe('flushed')
    await write(await open('a'), 'stopped', { asyncCommit: true })
    cluster.stop('a')
    cluster.restart('a')
    expect(await show('a')).toBe('stopped')
  })

  test('a standby comes back from a restart point, in another life, and catches up', async () => {
    const { cluster, open, write, during, show, pass } = world()
    const primary = await open('a')
    for (let i = 0; i < 10; i++) await write(primary, String(i))
    await pass(100)
    const check = async () => (await open('b')).request({ kind: 'check' })
    const before = await during(check)
    cluster.pauseReplay('b')
    cluster.restart('b', { behind: 3 })
    const after = await during(check)
    expect(after.applied).toBeLessThan(before.applied)
    expect(after.started).not.toBe(before.started)
    expect(await show('b')).toBe('6')
    cluster.resumeReplay('b')
    await pass(1_000)
    expect(await show('b')).toBe('9')
  })

  test('a server is rebuilt from an older copy at its address', async () => {
    const { cluster, open, write, show, pass, simulation } = world()
    const primary = await open('a')
    await write(primary, 'old')
    await pass(50)
    const then = simulation.now()
    await pass(50)
    await write(primary, 'new')
    await pass(50)
    expect(await show('b')).toBe('new')
    cluster.pauseReplay('b')
    cluster.rebuild('b', { ageMs: simulation.now() - then })
    expect(await show('b')).toBe('old')
    cluster.resumeReplay('b')
    await pass(1_000)
    expect(await show('b')).toBe('new')
  })

  test('a server without power says nothing, and its standbys find it again', async () => {
    const { cluster, open, write, during, simulation, pass, show } = world()
    const before = await open('a')
    cluster.powerOff('a')
    let settled = 0
    const count = () => settled++
    cluster.connect('client', 'a').opened.then(count, count)
    before.request({ kind: 'position' }).then(count, count)
    await pass(10_000)
    expect([settled, before.broken]).toEqual([0, undefined])
    cluster.restart('a')
    // Whoever sends something on a connection of the life before learns that it is none any more.
    await expect(during(() => before.request({ kind: 'position' }))).rejects.toThrow('reset')
    await write(await open('a'), '1')
    await pass(2_000)
    expect(await show('b')).toBe('1')
    expect(simulation.now()).toBeGreaterThan(10_000)
  })

  test('servers join and leave', async () => {
    const { cluster, open, write, show, pass } = world()
    await write(await open('a'), '1')
    cluster.addServer({ id: 'd' })
    await pass(1_000)
    expect(await show('d')).toBe('1')
    cluster.removeServer('d')
    await expect(open('d')).rejects.toThrow('refused')
    expect(() => cluster.addServer({ id: 'd' })).toThrow('already')
    expect(() => cluster.server('e')).toThrow('no server "e"')
  })
})

describe('promotion', () => {
  test('cuts off what the promoted one has not received; who has applied that cannot follow, and does not know where it is', async () => {
    const { cluster, open, write, during, show, pass } = world()
    const old = await open('a')
    await write(old, 'kept')
    await pass(100)
    cluster.cut('a', 'b')
    await write(old, 'cut off')
    await pass(100)
    cluster.promote('b')
    cluster.follow('c', 'b')
    await pass(1_000)
    expect(await show('b')).toBe('kept')
    const promoted = await open('b')
    expect(await during(() => promoted.request({ kind: 'check' }))).toMatchObject({ recovering: false, timeline: 2 })
    const { ancestors } = await during(() => promoted.request({ kind: 'timeline-history' }))
    const { wal } = cluster.server('a')
    expect(ancestors).toEqual([{ timeline: 1, switchAt: wal.lsn(wal.records.at(-2)!.end) }])
    const stuck = await open('c')
    expect(await during(() => stuck.request({ kind: 'position' }))).toMatchObject({ recovering: true, timeline: null })
    cluster.rejoin('c')
    cluster.heal('a', 'b')
    cluster.rejoin('a')
    await pass(1_000)
    for (const id of ['a', 'c']) expect(await show(id)).toBe('kept')
  })

  test('standbys follow to the new timeline, and drop what they have received and not applied of the old one', async () => {
    const { cluster, open, write, during, pass, show } = world()
    cluster.cut('a', 'b')
    cluster.pauseReplay('c')
    await write(await open('a'), 'cut off')
    await pass(100)
    expect(cluster.server('c').wal.records.length).toBeGreaterThan(cluster.server('b').wal.records.length)
    cluster.promote('b')
    cluster.follow('c', 'b')
    await pass(50)
    cluster.resumeReplay('c')
    await write(await open('b'), 'new')
    await pass(1_000)
    const follower = await open('c')
    expect(await during(() => follower.request({ kind: 'position' }))).toMatchObject({ timeline: 2 })
    expect([await show('b'), await show('c')]).toEqual(['new', 'new'])
    expect(cluster.server('c').wal.records).toEqual(cluster.server('b').wal.records)
  })

  test('nothing takes the place of a record that was to be replayed, and was dropped', async () => {
    const { cluster, open, write, show, pass } = world()
    const primary = await open('a')
    await write(primary, '1')
    await pass(100)
    const standby = cluster.server('c')
    const { applied } = standby
    cluster.delayReplay('c', 500)
    cluster.cut('a', 'b')
    await write(primary, 'dropped')
    await pass(300)
    cluster.promote('b')
    cluster.follow('c', 'b')
    await pass(250)
    expect(standby.wal.records.slice(applied).map(({ timeline }) => timeline)).toEqual([2])
    expect(standby.applied).toBe(applied)
    await write(await open('b'), '2')
    await pass(2_000)
    expect(await show('c')).toBe('2')
  })

  test('two may be promoted to the same timeline when no archive tells; otherwise to one after the other', async () => {
    const { cluster, pass } = world()
    await pass(100)
    cluster.promote('b', { archive: false })
    cluster.promote('c', { archive: false })
    expect(['a', 'b', 'c'].map(id => cluster.server(id).wal.timeline)).toEqual([1, 2, 2])
    cluster.rebuild('b', { from: 'c' })
    cluster.promote('b')
    expect(cluster.server('b').wal.timeline).toBe(3)
    expect(cluster.primary?.id).toBe('b')
  })

  test('an old primary takes writes, also after it has come back', async () => {
    const { cluster, open, write, show, pass } = world()
    await pass(100)
    cluster.crash('a')
    cluster.promote('b')
    cluster.restart('a')
    await write(await open('a'), 'old')
    await write(await open('b'), 'new')
    expect([await show('a'), await show('b')]).toEqual(['old', 'new'])
    expect([...cluster.finalValues()]).toEqual([['k', 'new']])
  })
})

describe('trouble on the way', () => {
  test('a frozen server accepts, answers nothing, and does everything when it is thawed, for whom it may concern', async () => {
    const { cluster, open, pass, show } = world()
    const connection = await open('a')
    cluster.freeze('a')
    const failed = writeTo(connection, '1').catch(String)
    await pass(5_000)
    connection.destroy('given up')
    expect(await failed).toContain('given up')
    await pass(100)
    cluster.thaw('a')
    expect(await show('a')).toBe('1')
  })

  test('the answer to a commit is lost on a link that is cut one way', async () => {
    const { cluster, open, pass, show } = world()
    const connection = await open('a')
    cluster.cut('a', 'client', { oneWay: true })
    const answer = writeTo(connection, '1').catch(String)
    await pass(100)
    cluster.reset('client', 'a')
    cluster.heal('a', 'client')
    expect(await answer).toContain('reset')
    expect(await show('a')).toBe('1')
  })

  test('of requests on an unreliable link, some are carried out and some are not', async () => {
    const { cluster, open, pass, simulation } = world()
    let carriedOut = 0
    let lost = 0
    for (let i = 0; i < 60; i++) {
      const connection = await open('a')
      cluster.unreliable('client', 'a', 0.3)
      const answer = writeTo(connection, String(i)).catch(() => lost++)
      await pass(20)
      cluster.unreliable('client', 'a', 0)
      await answer
      if (connection.broken !== undefined && cluster.server('a').data.get('k')?.value === String(i)) carriedOut++
    }
    expect(simulation.now()).toBeGreaterThan(0)
    expect(carriedOut).toBeGreaterThan(2)
    expect(lost - carriedOut).toBeGreaterThan(2)
  })

  test('a delayed answer comes late, and says how things were', async () => {
    const { cluster, open, write, during, simulation } = world()
    const monitor = await open('a', 'monitor')
    const before = cluster.server('a').wal
    const at = before.lsn(before.insertPosition)
    cluster.delay('a', 'monitor', 300, { oneWay: true })
    const asked = monitor.request({ kind: 'position' })
    const askedAt = simulation.now()
    const writer = await open('a')
    await write(writer, '1')
    expect((await during(() => asked)).applied).toBe(at)
    expect(simulation.now() - askedAt).toBeGreaterThan(300)
    expect(before.lsn(before.insertPosition)).toBeGreaterThan(at)
  })

  test('a balanced address leads to each of its servers', async () => {
    const { cluster, open } = world()
    cluster.balance('readers', ['b', 'c'])
    const reached = new Set<string>()
    for (let i = 0; i < 20; i++) reached.add((await open('readers')).host.id)
    expect(reached).toEqual(new Set(['b', 'c']))
  })

  test('regions are far from each other', async () => {
    const { cluster, during, simulation } = simulatedWorld(
      it =>
        new SimulatedCluster(it, {
          servers: [
            { id: 'a', region: 'eu' },
            { id: 'b', region: 'us' },
          ],
        }),
    )
    cluster.place('client', 'eu')
    const times: number[] = []
    for (const id of ['a', 'b']) {
      const startedAt = simulation.now()
      await during(() => cluster.connect('client', id).opened)
      times.push(simulation.now() - startedAt)
    }
    expect(times[0]).toBeLessThan(2)
    expect(times[1]).toBeGreaterThan(40)
  })
})

describe('transactions', () => {
  test('nobody else sees what one has written before it commits, and who writes the same key waits for it', async () => {
    const { open, read, during, pass, show } = world()
    const one = await open('a')
    const other = await open('a')
    await during(() => one.request({ kind: 'begin' }))
    await during(() => writeTo(one, '1'))
    expect([await read(one), await read(other)]).toEqual(['1', undefined])
    const waiting = writeTo(other, '2')
    await pass(100)
    expect(await show('a')).toBe(undefined)
    await during(() => one.request({ kind: 'commit' }))
    expect(await during(() => waiting)).toEqual({ key: 'k', value: '2', prev: '1' })
  })

  test('one that waits too long for a lock fails, and nothing of it is kept', async () => {
    const { open, during, read } = world()
    const [one, other] = [await open('a'), await open('a')]
    for (const connection of [one, other]) await during(() => connection.request({ kind: 'begin' }))
    await during(() => writeTo(one, '1', { key: 'x' }))
    await during(() => writeTo(other, '2', { key: 'y' }))
    const deadlock = [writeTo(one, '1', { key: 'y' }), writeTo(other, '2', { key: 'x' })]
    const ends = await during(() => Promise.allSettled(deadlock))
    expect(ends.filter(({ status }) => status === 'rejected').length).toBeGreaterThan(0)
    const failed = ends[0]!.status === 'rejected' ? one : other
    await expect(during(() => failed.request({ kind: 'read', keys: ['x'] }))).rejects.toMatchObject({
      code: 'transaction-failed',
    })
    await expect(during(() => failed.request({ kind: 'commit' }))).rejects.toMatchObject({ code: 'transaction-failed' })
    expect(await read(failed, failed === one ? 'x' : 'y')).toBe(undefined)
  })

  test('one whose client goes away is rolled back', async () => {
    const { open, during, pass, show } = world()
    const gone = await open('a')
    await during(() => gone.request({ kind: 'begin' }))
    await during(() => writeTo(gone, '1'))
    gone.destroy()
    await pass(10)
    const next = await open('a')
    expect(await during(() => writeTo(next, '2'))).toMatchObject({ prev: null })
    expect(await show('a')).toBe('2')
  })
})
