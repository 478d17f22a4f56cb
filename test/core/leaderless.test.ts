/** The whole way of reads and writes through a leaderless database, on virtual time. */
import { afterEach, describe, expect, test } from 'vitest'
import { Database } from '../../src/core/database/database.js'
import type { DatabaseConfig } from '../../src/core/database/database-config.js'
import type { NodeSpec } from '../../src/core/execution/engine.js'
import { primary, replica, stale, wait } from '../../src/core/ladder.js'
import { LostWriteError } from '../../src/core/lost-write-error.js'
import { quorum } from '../../src/core/quorum.js'
import { Session } from '../../src/core/session.js'
import { memoryTokenStore } from '../../src/core/token-store.js'
import { VirtualClock } from '../../src/core/virtual-clock.js'
import { listen, SECRET } from './kit.js'
import { Peer, type PeerLease, type PeerNode, peerEngine } from './peer-engine.js'

const NAMES = ['eu', 'us', 'ap']
const open: Database<PeerLease, NodeSpec, PeerNode>[] = []
afterEach(async () => {
  for (const db of open.splice(0)) await db.close()
})

/** Three peers, and a router in the region of each. */
async function world(config: DatabaseConfig = {}) {
  const clock = new VirtualClock()
  const peers = new Map(NAMES.map(name => [name, new Peer(name, clock)]))
  const router = async (region: string) => {
    const specs = NAMES.map(id => ({ id, region: id }))
    const db = new Database<PeerLease, NodeSpec, PeerNode>(peerEngine(peers), specs, {
      clock,
      secret: SECRET,
      region,
      onWarning: () => {},
      ...config,
    })
    open.push(db)
    await db.start()
    return {
      db,
      session: (token?: string, user?: string) => new Session(db.sessions, token, { user }),
      write: (session: Session, key: string, value: string) =>
        db.executor.write(session, {}, async lease => {
          const captured = lease.peer.write(key, value)
          return { captured, release: () => lease.release() }
        }),
      read: (session: Session, key: string, options = {}) =>
        db.executor.read(session, options, async lease => {
          lease.release()
          return { result: lease.peer.read(key) }
        }),
    }
  }
  const [eu, us, ap] = [await router('eu'), await router('us'), await router('ap')]
  return { clock, peers, peer: (name: string) => peers.get(name)!, eu, us, ap }
}

describe('a session that writes in two regions', () => {
  test('reads both, wherever it goes, as soon as one peer has both; and from no other before', async () => {
    const { clock, peer, eu, us, ap } = await world({ ladder: [replica(), wait({ budgetMs: 500 })] })
    const session = eu.session()
    await eu.write(session, 'name', 'Ann')
    const there = us.session(session.token())
    await us.write(there, 'city', 'Ulm')
    const roaming = ap.session(there.token())
    const reading = ap.read(roaming, 'name')
    await clock.advance(40)
    expect(roaming.lastOutcome).toBeUndefined()
    peer('ap').pull(peer('eu'))
    await clock.advance(40)
    expect(roaming.lastOutcome).toBeUndefined()
    peer('ap').pull(peer('us'))
    await clock.advance(40)
    expect(await reading).toBe('Ann')
    expect(roaming.lastOutcome).toMatchObject({ node: 'ap', rung: 'wait', guarantee: 'read-your-writes' })
    expect(await ap.read(roaming, 'city')).toBe('Ulm')
    // Control: who has written nothing is served at once, by a peer that lacks it.
    expect(await eu.read(eu.session(), 'city')).toBeUndefined()
  })

  test('is served by its origin when its own region has not got the write', async () => {
    const { eu, us } = await world({ ladder: [replica({ region: 'own' }), primary()] })
    const session = eu.session()
    await eu.write(session, 'name', 'Ann')
    const there = us.session(session.token())
    expect(await us.read(there, 'name')).toBe('Ann')
    expect(there.lastOutcome).toMatchObject({ node: 'eu', rung: 'primary' })
  })

  test('a read that cannot be told from a write goes to a peer that has it, or fails', async () => {
    const { peer, eu, us } = await world()
    const session = eu.session()
    await eu.write(session, 'name', 'Ann')
    const there = us.session(session.token())
    const call = () =>
      us.db.executor.write(there, { isRead: true }, async lease => ({
        result: lease.peer.read('name'),
        captured: lease.peer.applied,
        release: () => lease.release(),
      }))
    expect(await call()).toBe('Ann')
    expect(there.lastOutcome).toMatchObject({ node: 'eu' })
    peer('eu').cut = true
    await expect(call()).rejects.toThrow('cut')
    const refused = listen('tidemark:refused')
    await expect(call()).rejects.toMatchObject({ code: 'TIDEMARK_NO_PRIMARY' })
    expect(refused).toEqual([{ db: 'default', code: 'TIDEMARK_NO_PRIMARY', waitedMs: 0 }])
  })
})

test('explained for a user whose positions are stored, it says what was not looked at', async () => {
  const { eu } = await world()
  const session = eu.session(undefined, 'ada')
  await eu.write(session, 'name', 'Ann')
  const explained = () => eu.db.explain(session.token(), { user: 'ada' }).needs
  expect(explained()).not.toContain('store')
  eu.db.keepPositionsIn(memoryTokenStore())
  expect(explained()).toContain('What the token store keeps of this user is not looked at')
  expect(eu.db.explain(session.token()).needs).not.toContain('store')
})

test('only what was written counts as a write', async () => {
  const { eu } = await world()
  const session = eu.session()
  const send = (isRead: boolean, error?: Error) =>
    eu.db.executor.write(session, { isRead }, async lease => ({
      error,
      captured: lease.peer.applied.isZero ? lease.peer.write('name', 'Ann') : lease.peer.applied,
      release: () => {
        lease.release()
        return error
      },
    }))
  await send(false)
  const writes = listen('tidemark:write')
  await send(true)
  await expect(send(false, new Error('a value that is there already'))).rejects.toThrow('there already')
  expect(writes).toEqual([])
  await send(false)
  expect(writes).toMatchObject([{ node: 'eu' }])
})

test('a write is not sent on a connection to an earlier life of its peer', async () => {
  const { peer, eu } = await world()
  peer('eu').outlived = 1
  const incarnations: string[] = []
  const captured = await eu.db.executor.write(eu.session(), {}, async lease => {
    incarnations.push(lease.incarnation)
    const captured = lease.peer.write('name', 'Ann')
    return { result: captured, captured, release: () => lease.release() }
  })
  expect(incarnations).toEqual([peer('eu').incarnation])
  expect(captured.entries).toMatchObject([{ lineage: peer('eu').log }])
})

describe('a peer that comes back from an older copy', () => {
  test('is not read by what was known of its life before', async () => {
    const { clock, peer, us } = await world({ ladder: [replica(), wait(), primary()] })
    const session = us.session()
    await us.write(session, 'city', 'Ulm')
    peer('ap').pull(peer('us'))
    peer('us').loseAll()
    const reading = us.read(session, 'city')
    await clock.advance(40)
    expect(await reading).toBe('Ulm')
    expect(session.lastOutcome).toMatchObject({ node: 'ap', reroutes: 1, guarantee: 'read-your-writes' })
  })

  test('and has lost what nobody else has: told once, and by an error where that is asked for', async () => {
    for (const lostWrites of ['reissue', 'error'] as const) {
      const { clock, peer, eu, us } = await world({ ladder: [replica(), primary()], lostWrites })
      const session = us.session()
      await us.write(session, 'city', 'Ulm')
      const away = eu.session(session.token())
      await eu.write(away, 'name', 'Ann')
      peer('us').loseAll()
      // While nobody has heard of it the log goes on, as far as is known, and nobody has all of it.
      await expect(eu.read(away, 'name')).rejects.toMatchObject({ code: 'TIDEMARK_NOT_SERVED' })
      await clock.advance(600)
      const refused = listen('tidemark:refused')
      if (lostWrites === 'error') await expect(eu.read(away, 'name')).rejects.toThrow(LostWriteError)
      else {
        expect(await eu.read(away, 'name')).toBe('Ann')
        expect(away.lastOutcome).toMatchObject({ guarantee: 'eventual', possiblyLost: true, node: 'eu' })
      }
      expect(refused.map(({ code }) => code)).toEqual(lostWrites === 'error' ? ['TIDEMARK_LOST_WRITE'] : [])
      expect(await eu.read(away, 'name')).toBe('Ann')
      expect(away.lastOutcome).toMatchObject({ guarantee: 'read-your-writes', possiblyLost: false })
    }
  })
})

describe('an uncertain session', () => {
  const lose = (db: Database<PeerLease, NodeSpec, PeerNode>, session: Session) =>
    db.executor.write(session, {}, async lease => {
      lease.peer.write('name', 'Ann')
      return { error: new Error('the answer was lost'), captured: undefined, release: () => new Error('the answer was lost') }
    })

  test('sees its write after a look at every peer, from one that has what all of them had', async () => {
    const { clock, peer, eu, us } = await world({ ladder: [replica(), wait({ budgetMs: 500 }), primary()] })
    peer('us').write('city', 'Ulm')
    const session = eu.session()
    await expect(lose(eu.db, session)).rejects.toThrow('lost')
    const there = us.session(session.token())
    const reading = us.read(there, 'name')
    await clock.advance(40)
    expect(there.lastOutcome).toBeUndefined()
    peer('us').pull(peer('eu'))
    await clock.advance(40)
    expect(await reading).toBe('Ann')
    expect(there.history.uncertain).toBe(false)
  })

  test('is served by nobody while one peer cannot be asked, unless a rung was chosen that serves less', async () => {
    const { clock, peer, eu, us } = await world({ ladder: [replica(), wait(), primary()] })
    const session = eu.session()
    await expect(lose(eu.db, session)).rejects.toThrow('lost')
    peer('ap').cut = true
    const there = us.session(session.token())
    await expect(us.read(there, 'name')).rejects.toThrow('a look at every peer, since the session is uncertain')
    expect(await us.read(there, 'name', { ladder: [replica(), stale({ maxLagMs: 60_000 })] })).toBeUndefined()
    expect(there.lastOutcome?.guarantee).toBe('eventual')
    expect(there.history.uncertain).toBe(true)
    peer('ap').cut = false
    for (const name of ['us', 'ap']) peer(name).pull(peer('eu'))
    await clock.advance(500)
    expect(await us.read(there, 'name')).toBe('Ann')
  })
})

test('quorums: a write that two of three have is read from one that includes it; when none includes all, the next rung serves', async () => {
  const { clock, peer, eu, us } = await world({ ladder: [quorum(2), stale({ maxLagMs: 60_000 })], writePolicy: quorum(2) })
  const writing = eu.write(eu.session(), 'name', 'Ann')
  await clock.advance(20)
  peer('ap').pull(peer('eu'))
  await clock.advance(20)
  await writing
  // Of another author, who knows nothing of it.
  for (let i = 0; i < 6; i++) expect(await us.read(us.session(), 'name')).toBe('Ann')
  peer('us').write('city', 'Ulm')
  peer('us').write('city', 'Bonn')
  const reader = us.session()
  await us.read(reader, 'city')
  expect(reader.lastOutcome?.rung).toBe('stale')
})
