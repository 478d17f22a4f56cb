/**
 * Rules 4 and 8, between routers: one has seen the promotion and hands its token to another that has not, while the old
 * primary still runs. What the old primary shows must never pass for what the token asks for.
 */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { NoPrimaryError, type PostgresSession, type Tidemark, type TidemarkConfig } from '../../../src/engines/postgres/index.js'
import { NotServedError, primary, replica, wait } from '../../../src/index.js'
import { type Cluster, startCluster } from '../../../src/testing/index.js'
import { openDatabase, until } from '../../support/database.js'
import { collect, failure, settled } from '../../support/failover.js'

const SAVE = 'INSERT INTO notes (body) VALUES ($1)'
const COUNT = 'SELECT count(*)::int AS n FROM notes'

let cluster: Cluster
/** Has seen the promotion. */
let early: Tidemark
let author: PostgresSession
/** Still go by the picture of before: they look once a minute. */
const late: Tidemark[] = []
const opened: Tidemark[] = []

async function open(config: Partial<TidemarkConfig>): Promise<Tidemark> {
  const db = await openDatabase(cluster, config)
  opened.push(db)
  return db
}
const statusOf = (db: Tidemark, node: string) => db.status().find(status => status.node === node)!
const countOf = async (work: Promise<{ rows: { n: number }[] }>) => (await settled(work, 'a read')).rows[0]!.n

beforeAll(async () => {
  cluster = await startCluster({ replicas: 2, links: true })
  await cluster.query('primary', 'CREATE TABLE notes (body text)')
  await cluster.caughtUp()
  early = await open({ pollIntervalMs: 50 })
  for (let i = 0; i < 7; i++) late.push(await open({ pollIntervalMs: 60_000 }))
  for (const db of late) await until(() => db.status().every(({ behindBytes }) => behindBytes === 0), 'all have caught up')
  await cluster.promote('replica-1')
  await cluster.caughtUp('replica-2')
  await until(() => statusOf(early, 'replica-1').role === 'primary', 'the promotion is known')
  await until(() => statusOf(early, 'replica-2').timeline === 2, 'replica-2 is known to follow')
  await cluster.pause('replica-2')
  author = early.session()
  await author.query(SAVE, ['later'])
  expect(author.history.writes.entries.map(({ lineage }) => lineage.split('/')[1])).toEqual(['2'])
}, 60_000)
afterEach(async () => {
  for (const node of cluster.nodes) await cluster.heal(node)
})
afterAll(async () => {
  await Promise.all(opened.map(db => db.close()))
  await cluster?.close()
})

/** A router that has not heard of the promotion. Control: whoever brings no token is served by the old primary. */
async function unaware(): Promise<Tidemark> {
  const db = late.pop()!
  expect(statusOf(db, 'primary')).toMatchObject({ role: 'primary', usable: true, timeline: 1 })
  expect(await countOf(db.pool.query(COUNT))).toBe(0)
  expect(statusOf(db, 'replica-1')).toMatchObject({ role: 'replica' })
  return db
}

const ways: Record<string, (session: PostgresSession) => Promise<number>> = {
  'a read': session => countOf(session.query(COUNT)),
  'a read that a hint sends to the primary': session => countOf(session.query(`/* tidemark: primary */ ${COUNT}`)),
  'a transaction': session => session.transaction(tx => countOf(tx.query(COUNT))),
}
for (const [name, way] of Object.entries(ways)) {
  test(`${name}: everybody is asked anew, and the new primary serves`, async () => {
    const db = await unaware()
    using lost = collect('tidemark:possibly-lost')
    expect(await way(db.session(author.token()))).toBe(1)
    expect(lost.messages).toEqual([])
    expect(statusOf(db, 'primary')).toMatchObject({ usable: false })
    expect(statusOf(db, 'replica-1')).toMatchObject({ role: 'primary', usable: true })
  })
}

test('the old primary is too slow to be asked, and answers all the same: what it says is not taken', async () => {
  const db = await unaware()
  await cluster.cut('replica-1')
  // Longer than a poll may take, shorter than a connection or a statement may.
  await cluster.delay('primary', 1_500)
  const session = db.session(author.token())
  const error = await settled(failure(session.query(`/* tidemark: primary */ ${COUNT}`)), 'a read')
  expect(error).toBeInstanceOf(NoPrimaryError)
  // Control: it does answer.
  expect(await countOf(db.pool.query(COUNT))).toBe(0)
  expect(session.lastOutcome).toBeUndefined()
})

test('a write goes to the new primary, too: in the old one it would be lost', async () => {
  const db = await unaware()
  await settled(db.session(author.token()).query(SAVE, ['by an unaware router']), 'a write')
  expect(await countOf(early.pool.query(`${COUNT} WHERE body = 'by an unaware router'`))).toBe(1)
  expect(await cluster.query('primary', COUNT)).toEqual([{ n: 0 }])
})

test('the new primary cannot be reached: the old one may serve, and it is told', async () => {
  const db = await unaware()
  await cluster.cut('replica-1')
  using lost = collect('tidemark:possibly-lost')
  const session = db.session(author.token())
  expect(await countOf(session.query(COUNT))).toBe(0)
  expect(session.lastOutcome).toMatchObject({ node: 'primary', possiblyLost: true, guarantee: 'eventual' })
  expect(lost.messages).toMatchObject([{ verdict: 'unknown' }])
})

test('neither can be reached, and the old one comes back while a read waits: it does not serve', async () => {
  const db = await unaware()
  await cluster.cut('replica-1')
  await cluster.cut('primary')
  const session = db.session(author.token())
  let ended = false
  const read = failure(session.query(COUNT, [], { ladder: [replica(), wait({ budgetMs: 3_000 }), primary()] })).finally(() => {
    ended = true
  })
  await until(() => !statusOf(db, 'primary').usable, 'the old primary is lost')
  await cluster.heal('primary')
  await until(() => statusOf(db, 'primary').usable, 'the old primary is back')
  expect(ended).toBe(false)
  expect(statusOf(db, 'primary')).toMatchObject({ role: 'primary', timeline: 1 })
  expect(await settled(read, 'a read')).toBeInstanceOf(NotServedError)
  // Control: it would have served, and has not got the write.
  expect(await countOf(db.pool.query(COUNT))).toBe(0)
  // Once somebody has it, the same token is served.
  await cluster.resume('replica-2')
  await cluster.caughtUp('replica-2')
  await cluster.heal('replica-1')
  expect(await countOf(db.session(author.token()).query(COUNT))).toBe(2)
})
