/** Rules 4 and 8: who is the primary, and what becomes of a session's writes when that changes. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { rm } from 'node:fs/promises'
import { afterEach, expect, test } from 'vitest'
import { NoPrimaryError, type Tidemark } from '../../src/engines/postgres/index.js'
import { type Cluster, startCluster } from '../../src/testing/index.js'
import { openDatabase, until } from '../support/database.js'

let cluster: Cluster
let db: Tidemark
const SAVE = 'INSERT INTO notes (body) VALUES ($1)'
const COUNT = 'SELECT count(*)::int AS n FROM notes'

async function start(replicas: number): Promise<void> {
  cluster = await startCluster({ replicas })
  await cluster.query('primary', 'CREATE TABLE notes (body text)')
  await cluster.caughtUp()
  db = await openDatabase(cluster, { pollIntervalMs: 50 })
}
afterEach(async () => {
  await db?.close()
  await cluster?.close()
})

const statusOf = (node: string) => db.status().find(status => status.node === node)!

test('after a promotion writes go to the new primary, and the old one coming back as it was is refused', async () => {
  await start(2)
  const changes: unknown[] = []
  const listener = (message: unknown) => changes.push(message)
  subscribe('tidemark:primary', listener)
  try {
    await db.session().query(SAVE, ['before'])
    await cluster.caughtUp()
    await cluster.kill('primary')
    await cluster.promote('replica-1')
    await until(() => statusOf('replica-1').role === 'primary' && statusOf('replica-1').usable, 'the new primary is known')
    const session = db.session()
    await session.query(SAVE, ['after'])
    expect((await session.query(COUNT)).rows).toEqual([{ n: 2 }])

    await cluster.start('primary')
    await until(() => statusOf('primary').problem?.includes('old primary') === true, 'the old primary is recognised')
    await db.session().query(SAVE, ['still on the new one'])
    expect(await cluster.query('replica-1', COUNT)).toEqual([{ n: 3 }])
    // Control: the old primary would have taken the write.
    expect(await cluster.query('primary', COUNT)).toEqual([{ n: 1 }])
    await cluster.query('primary', SAVE, ['taken by the old one'])
    for (let i = 0; i < 20; i++) expect((await db.pool.query(COUNT)).rows).toEqual([{ n: 3 }])
    expect(changes).toMatchObject([{ node: 'replica-1', previous: 'primary' }])
  } finally {
    unsubscribe('tidemark:primary', listener)
  }
})

test('a token of the history before a promotion is judged, told and replaced, never compared as a number', async () => {
  await start(2)
  const lost: unknown[] = []
  const listener = (message: unknown) => lost.push(message)
  subscribe('tidemark:possibly-lost', listener)
  try {
    await cluster.pauseReceiver('replica-1')
    await cluster.pauseReceiver('replica-2')
    const before = db.session()
    await before.query(SAVE, ['never replicated'])
    // The write is gone with the primary: nobody had received it.
    await cluster.kill('primary')
    await cluster.promote('replica-2', { repoint: false })
    // Many writes in the new history, so that its numbers are far past the token's.
    for (let i = 0; i < 50; i++) await cluster.query('replica-2', SAVE, [`later ${i}`])
    await until(() => statusOf('replica-2').role === 'primary' && statusOf('replica-2').usable, 'the new primary is known')

    // Also of a read that never was on the ladder.
    const hinted = db.session(before.token())
    await hinted.query(`${COUNT} /* tidemark: primary */`)
    expect(hinted.lastOutcome).toMatchObject({ node: 'replica-2', possiblyLost: true, guarantee: 'eventual' })
    await hinted.query(`${COUNT} /* tidemark: primary */`)
    expect(hinted.lastOutcome).toMatchObject({ possiblyLost: false, guarantee: 'read-your-writes' })
    expect(lost.splice(0)).toMatchObject([{ verdict: 'possibly-lost' }])

    const after = db.session(before.token())
    await after.query(COUNT)
    expect(after.lastOutcome).toMatchObject({ node: 'replica-2', possiblyLost: true, guarantee: 'eventual' })
    expect(lost).toHaveLength(1)
    // The session goes on from the new history: told once, then fenced again.
    await after.query(COUNT)
    expect(after.lastOutcome).toMatchObject({ possiblyLost: false, guarantee: 'read-your-writes' })
    expect(lost).toHaveLength(1)
    expect(after.history.writes.entries).toHaveLength(1)
    expect(after.token()).not.toBe(before.token())
  } finally {
    unsubscribe('tidemark:possibly-lost', listener)
  }
})

test('two primaries of the same history: neither is used, and one is again once the other has gone', async () => {
  await start(1)
  // A standby that leaves recovery without beginning a history of its own, as a mistaken copy would.
  const directory = (await cluster.query<{ data_directory: string }>('replica-1', 'SHOW data_directory'))[0]!.data_directory
  await cluster.stop('replica-1')
  await rm(`${directory}/standby.signal`)
  await cluster.start('replica-1')
  expect(await cluster.query('replica-1', 'SELECT pg_is_in_recovery() AS recovering')).toEqual([{ recovering: false }])
  await until(() => db.status().every(status => status.problem?.includes('two primaries') === true), 'both are refused')
  await expect(db.pool.query(SAVE, ['x'])).rejects.toThrow(/two primaries/)
  await cluster.stop('replica-1')
  await until(() => statusOf('primary').usable, 'the one that is left is used again')
  await db.pool.query(SAVE, ['x'])
  expect(await cluster.query('primary', COUNT)).toEqual([{ n: 1 }])
})

test('without a primary, replicas go on serving what they can prove, and writes fail at once with the reason', async () => {
  await start(2)
  const session = db.session()
  await session.query(SAVE, ['before'])
  await cluster.caughtUp()
  await until(() => db.status().every(status => status.behindBytes === 0), 'everybody is known to have caught up')
  await cluster.kill('primary')
  await until(() => !statusOf('primary').usable, 'the loss is noticed')
  expect((await session.query(COUNT)).rows).toEqual([{ n: 1 }])
  expect(session.lastOutcome).toMatchObject({ rung: 'replica', guarantee: 'read-your-writes' })
  const error = await db
    .session()
    .query(SAVE, ['x'])
    .catch((reason: unknown) => reason)
  expect(error).toBeInstanceOf(Error)
  // The driver's own error while it is tried, ours once it is known to be down.
  expect(error instanceof NoPrimaryError || (error as { code?: string }).code === 'ECONNREFUSED').toBe(true)
  await cluster.start('primary')
  await until(() => statusOf('primary').usable, 'the primary is re-admitted by itself')
  await db.session().query(SAVE, ['again'])
})
