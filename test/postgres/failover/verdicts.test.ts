/**
 * Rule 4: what becomes of a session's writes in a failover. Preserved ones keep their fence, also across several promotions and
 * for a router that saw none of them; all others are told, once.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { LostWriteError } from '../../../src/core/lost-write-error.js'
import type { PostgresSession, Tidemark, TidemarkConfig } from '../../../src/engines/postgres/index.js'
import { parseTimelineHistory } from '../../../src/engines/postgres/timeline-history.js'
import { DEFAULT_LADDER, Position, TokenCodec } from '../../../src/index.js'
import { type Cluster, startCluster } from '../../../src/testing/index.js'
import { openDatabase, SECRET, until } from '../../support/database.js'
import { collect, failure, settled } from '../../support/failover.js'

const SAVE = 'INSERT INTO notes (body) VALUES ($1)'
const BODIES = 'SELECT body FROM notes ORDER BY body'

let cluster: Cluster
const opened: Tidemark[] = []

async function open(config: Partial<TidemarkConfig> = {}): Promise<Tidemark> {
  const db = await openDatabase(cluster, { pollIntervalMs: 50, ...config })
  opened.push(db)
  return db
}
async function start(replicas: number): Promise<void> {
  cluster = await startCluster({ replicas })
  await cluster.query('primary', 'CREATE TABLE notes (body text)')
  await cluster.caughtUp()
}
async function close(): Promise<void> {
  await Promise.all(opened.splice(0).map(db => db.close()))
  await cluster?.close()
}

const statusOf = (db: Tidemark, node: string) => db.status().find(status => status.node === node)!
const known = (db: Tidemark, primary: string) =>
  until(() => statusOf(db, primary).role === 'primary' && statusOf(db, primary).usable, `${primary} is known as the primary`)
const read = async (session: PostgresSession) =>
  (await settled(session.query<{ body: string }>(BODIES), 'a read')).rows.map(({ body }) => body)
/** Reads until `node` serves. */
const servedBy = (session: PostgresSession, node: string, bodies: readonly string[]) =>
  until(async () => {
    expect(await read(session)).toEqual(bodies)
    expect(session.lastOutcome).toMatchObject({ guarantee: 'read-your-writes', possiblyLost: false })
    return session.lastOutcome!.node === node
  }, `${node} serves`)
const codec = new TokenCodec({ secret: SECRET })
const tokenAt = (lineage: string, offset: bigint) =>
  codec.encode({ writes: Position.at(lineage, offset), reads: Position.zero, uncertain: false })
const writeOf = (session: PostgresSession) => session.history.writes.entries[0]!
const timelineOf = (session: PostgresSession) => session.history.writes.entries.map(({ lineage }) => lineage.split('/')[1])

describe('a write that the new primary has', () => {
  afterEach(close)

  test('keeps its fence on the new history, and its token moves there', async () => {
    await start(2)
    const db = await open()
    await cluster.pause('replica-2')
    const author = db.session()
    await author.query(SAVE, ['kept'])
    const token = author.token()
    await cluster.caughtUp('replica-1')
    await cluster.kill('primary')
    await cluster.promote('replica-1')
    await known(db, 'replica-1')

    using lost = collect('tidemark:possibly-lost')
    const session = db.session(token)
    expect(await read(session)).toEqual(['kept'])
    expect(session.lastOutcome).toMatchObject({ node: 'replica-1', guarantee: 'read-your-writes', possiblyLost: false })
    expect(timelineOf(session)).toEqual(['2'])
    expect(writeOf(session).offset).toBe(writeOf(author).offset)
    expect(session.token()).not.toBe(token)
    // Control: the replica that is left answers, and has not got it.
    expect((await db.eventual.query(BODIES)).rows).toEqual([])

    await cluster.resume('replica-2')
    await cluster.caughtUp('replica-2')
    for (const carried of [token, session.token()]) await servedBy(db.session(carried), 'replica-2', ['kept'])
    expect(lost.messages).toEqual([])
  })

  test('leader-reads: the pin moves to the new primary, and holds until every replica has the write', async () => {
    await start(3)
    const db = await open({ preset: 'leader-reads' })
    await cluster.pause('replica-2')
    const author = db.session()
    await author.query(SAVE, ['kept'])
    await read(author)
    expect(author.lastOutcome).toMatchObject({ node: 'primary', rung: 'pinned' })
    await cluster.caughtUp('replica-1')
    await cluster.kill('primary')
    await cluster.promote('replica-1')
    await cluster.caughtUp('replica-3')
    await known(db, 'replica-1')
    await until(() => statusOf(db, 'replica-3').timeline === 2, 'replica-3 is known to follow')

    const session = db.session(author.token())
    for (let i = 0; i < 20; i++) {
      expect(await read(session)).toEqual(['kept'])
      expect(session.lastOutcome).toMatchObject({ node: 'replica-1', rung: 'pinned', guarantee: 'read-your-writes' })
      expect(session.lastOutcome!.possiblyLost).toBe(false)
    }
    // Control: without the pin a replica serves, which has the write.
    const unpinned = db.session(session.token(), { ladder: DEFAULT_LADDER })
    await servedBy(unpinned, 'replica-3', ['kept'])
    await cluster.resume('replica-2')
    await cluster.caughtUp('replica-2')
    await until(async () => {
      expect(await read(session)).toEqual(['kept'])
      return session.lastOutcome!.rung === 'replica'
    }, 'the pin is gone')
  })
})

describe('after two promotions in a row', () => {
  let db: Tidemark
  let first: PostgresSession
  let second: PostgresSession
  let system: string

  beforeAll(async () => {
    await start(3)
    for (const sql of [
      "CREATE ROLE watcher LOGIN PASSWORD 'watcher' IN ROLE pg_monitor",
      "CREATE ROLE nobody_special LOGIN PASSWORD 'nobody_special'",
      'GRANT SELECT ON notes TO watcher, nobody_special',
    ]) {
      await cluster.query('primary', sql)
    }
    db = await open()
    first = db.session()
    await first.query(SAVE, ['a'])
    await cluster.caughtUp()
    await cluster.kill('primary')
    await cluster.promote('replica-1')
    await cluster.caughtUp()
    await known(db, 'replica-1')
    second = db.session()
    await second.query(SAVE, ['b'])
    await cluster.caughtUp()
    await cluster.kill('replica-1')
    await cluster.promote('replica-2')
    await cluster.caughtUp()
    await known(db, 'replica-2')
    system = writeOf(first).lineage.split('/')[0]!
    expect([timelineOf(first), timelineOf(second)]).toEqual([['1'], ['2']])
  }, 60_000)
  afterAll(close)

  const routers: Record<string, () => Promise<Tidemark>> = {
    'a router that was there': async () => db,
    'a router that saw none of it': () => open(),
  }
  for (const [name, router] of Object.entries(routers)) {
    test(`${name}: tokens of all histories that are preserved keep their fences`, async () => {
      const judge = await router()
      using lost = collect('tidemark:possibly-lost')
      for (const tokens of [[first.token()], [second.token()], [first.token(), second.token()]]) {
        const session = judge.session(tokens)
        await servedBy(session, 'replica-3', ['a', 'b'])
        expect(timelineOf(session)).toEqual(['3'])
      }
      expect(lost.messages).toEqual([])
      // Control: one byte further than the new history goes, and it is told.
      const [left] = parseTimelineHistory(
        (await cluster.query<{ text: string }>('replica-2', `SELECT pg_read_file('pg_wal/00000003.history') AS text`))[0]!.text,
      )
      await read(judge.session(tokenAt(`${system}/1`, left!.includedUpTo)))
      expect(lost.messages).toEqual([])
      const beyond = judge.session(tokenAt(`${system}/1`, left!.includedUpTo + 1n))
      await read(beyond)
      expect(beyond.lastOutcome).toMatchObject({ node: 'replica-2', possiblyLost: true, guarantee: 'eventual' })
      expect(lost.messages).toMatchObject([{ verdict: 'possibly-lost', lineage: `${system}/3` }])
    })
  }

  test('a token of another system, though signed with our secret, is foreign', async () => {
    using lost = collect('tidemark:possibly-lost')
    for (const offset of [1n, 1n << 40n]) {
      const session = db.session(tokenAt(`${BigInt(system) + 1n}/3`, offset))
      await read(session)
      expect(session.lastOutcome).toMatchObject({ node: 'replica-2', possiblyLost: true, guarantee: 'eventual' })
      await read(session)
      expect(session.lastOutcome).toMatchObject({ possiblyLost: false, guarantee: 'read-your-writes' })
      expect(timelineOf(session)).toEqual(['3'])
    }
    expect(lost.messages.map(({ verdict }) => verdict)).toEqual(['foreign', 'foreign'])
  })

  test.each(['watcher', 'nobody_special'])('%s may not read the history: unknown, and treated as possibly lost', async role => {
    const nodes = cluster.nodes.map(name => {
      const url = new URL(cluster.url(name))
      url.username = url.password = role
      return { name, url: url.href }
    })
    const [reissue, error] = await Promise.all([open({ nodes }), open({ nodes, lostWrites: 'error' })])
    using lost = collect('tidemark:possibly-lost')
    const session = reissue.session(first.token())
    expect(await read(session)).toEqual(['a', 'b'])
    expect(session.lastOutcome).toMatchObject({ node: 'replica-2', possiblyLost: true, guarantee: 'eventual' })
    expect(lost.messages).toMatchObject([{ verdict: 'unknown' }])
    const thrown = await failure(read(error.session(first.token())))
    expect(thrown).toBeInstanceOf(LostWriteError)
    expect(thrown).toMatchObject({ verdict: 'unknown', includedUpTo: undefined })
  })
})

describe('a write that nobody had received', () => {
  afterEach(close)

  test('is told by the outcome and an event, or by an error, once; then its session goes on', async () => {
    await start(2)
    const [reissue, error] = await Promise.all([open(), open({ lostWrites: 'error' })])
    const kept = error.session()
    await kept.query(SAVE, ['kept'])
    await cluster.caughtUp()
    await Promise.all([cluster.pauseReceiver('replica-1'), cluster.pauseReceiver('replica-2')])
    const author = reissue.session()
    await author.query(SAVE, ['gone'])
    const { lineage, offset } = writeOf(author)
    await cluster.kill('primary')
    await cluster.promote('replica-1', { repoint: false })
    await Promise.all([known(reissue, 'replica-1'), known(error, 'replica-1')])
    // The new history's numbers go far past the lost write's: as numbers, they would cover it.
    await cluster.query('replica-1', 'CREATE TABLE filler AS SELECT i FROM generate_series(1, 5000) i')

    for (const router of [reissue, await open()]) {
      using lost = collect('tidemark:possibly-lost')
      const session = router.session(author.token())
      expect(await read(session)).toEqual(['kept'])
      expect(session.lastOutcome).toMatchObject({ node: 'replica-1', possiblyLost: true, guarantee: 'eventual' })
      expect(lost.messages).toMatchObject([{ verdict: 'possibly-lost', position: `${lineage}@${offset}` }])
      expect(timelineOf(session)).toEqual(['2'])
      await read(session)
      await read(router.session(session.token()))
      expect(session.lastOutcome).toMatchObject({ possiblyLost: false, guarantee: 'read-your-writes' })
      expect(lost.messages).toHaveLength(1)
    }
    const [left] = parseTimelineHistory(
      (await cluster.query<{ text: string }>('replica-1', `SELECT pg_read_file('pg_wal/00000002.history') AS text`))[0]!.text,
    )
    for (const router of [error, await open({ lostWrites: 'error' })]) {
      const session = router.session(author.token())
      const thrown = await failure(read(session))
      expect(thrown).toBeInstanceOf(LostWriteError)
      expect(thrown).toMatchObject({
        code: 'TIDEMARK_LOST_WRITE',
        verdict: 'possibly-lost',
        position: `${lineage}@${offset}`,
        lineage: lineage.replace(/1$/, '2'),
        includedUpTo: left!.includedUpTo,
      })
      expect(await read(session)).toEqual(['kept'])
      expect(session.lastOutcome).toMatchObject({ node: 'replica-1', possiblyLost: false, guarantee: 'read-your-writes' })
      expect(timelineOf(session)).toEqual(['2'])
      // Control: whose write is preserved hears of nothing.
      const preserved = router.session(kept.token())
      expect(await read(preserved)).toEqual(['kept'])
      expect(preserved.lastOutcome).toMatchObject({ possiblyLost: false, guarantee: 'read-your-writes' })
    }
  })
})
