/** While there is no primary, and after: who can be served is, everybody else is told within the budget, and writes resume. */
import { afterEach, expect, test } from 'vitest'
import type { Tidemark, TidemarkConfig } from '../../../src/engines/postgres/index.js'
import { type Ladder, NotReadyError, NotServedError, notReady, primary, replica, stale, wait } from '../../../src/index.js'
import { type Cluster, startCluster } from '../../../src/testing/index.js'
import { openDatabase, until } from '../../support/database.js'
import { failure, load, settled } from '../../support/failover.js'

const SAVE = 'INSERT INTO notes (body) VALUES ($1)'
const BODIES = 'SELECT body FROM notes ORDER BY body'
/** An application that tries again. */
const RETRY_MS = 20
const GIVE_UP_MS = 15_000

let cluster: Cluster
let db: Tidemark

async function start(config: Partial<TidemarkConfig> = {}): Promise<void> {
  cluster = await startCluster({ replicas: 2 })
  await cluster.query('primary', 'CREATE TABLE notes (body text)')
  await cluster.query('primary', 'CREATE TABLE counters (author text, n int)')
  await cluster.caughtUp()
  db = await openDatabase(cluster, config)
}
afterEach(async () => {
  await db?.close()
  await cluster?.close()
})

const statusOf = (node: string) => db.status().find(status => status.node === node)!

test('writes resume after a promotion without a restart, and the old primary, rejoined, serves reads again', async () => {
  await start()
  const working = load(db, 4, 'author')
  const { tally } = working
  await until(() => tally.reads > 50, 'work is done')
  await cluster.kill('primary')
  await until(() => tally.errors.length > 0, 'the outage is felt')
  await cluster.promote('replica-1')
  const promotedAt = performance.now()
  const session = db.session()
  const write = async () => {
    for (;;) {
      const error = await failure(settled(session.query(SAVE, ['after']), 'a write'))
      if (error === undefined || performance.now() - promotedAt > GIVE_UP_MS) return error
      await new Promise(resolve => setTimeout(resolve, RETRY_MS))
    }
  }
  expect(await write()).toBeUndefined()
  console.info(`from the promotion to the first write: ${Math.round(performance.now() - promotedAt)} ms`)
  const writes = tally.writes
  await until(() => tally.writes > writes + 50, 'everybody writes again')

  await cluster.rejoin('primary')
  await until(() => statusOf('primary').role === 'replica' && statusOf('primary').usable, 'it is a replica')
  const before = tally.nodes.primary ?? 0
  await until(() => (tally.nodes.primary ?? 0) > before + 10, 'it serves reads')
  await working.stop()
  expect(tally).toMatchObject({ violations: [], hangs: [] })
  expect(await cluster.query('replica-1', BODIES)).toEqual([{ body: 'after' }])
  // Control: replicas lack what was just written, now and then.
  await cluster.pause('replica-2')
  const control = load(db, 2, 'control')
  await until(() => control.tally.unfenced > 0, 'an unfenced read misses a write')
  expect((await control.stop()).violations).toEqual([])
})

test('without a primary, what replicas have is served, and everybody else is told before the outage ends', async () => {
  await start()
  const kept = db.session()
  await kept.query(SAVE, ['kept'])
  await cluster.caughtUp()
  await until(() => db.status().every(({ behindBytes }) => behindBytes === 0), 'all are known to have caught up')
  await Promise.all([cluster.pauseReceiver('replica-1'), cluster.pauseReceiver('replica-2')])
  const ahead = db.session()
  await ahead.query(SAVE, ['nowhere else'])
  const token = ahead.token()

  const ladders: Record<string, Ladder | undefined> = {
    default: undefined,
    'not ready': [replica(), wait({ budgetMs: 100 }), primary(), notReady({ retryAfterMs: 250 })],
    stale: [replica(), wait({ budgetMs: 100 }), primary(), stale({ maxLagMs: 600_000 })],
  }
  const check = async () => {
    for (let i = 0; i < 5; i++) {
      expect((await settled(kept.query(BODIES), 'a read that replicas can serve')).rows).toEqual([{ body: 'kept' }])
      expect(kept.lastOutcome).toMatchObject({ guarantee: 'read-your-writes', possiblyLost: false })
      expect(kept.lastOutcome!.node).toMatch(/^replica-/)
    }
    const answers = Object.entries(ladders).map(async ([name, ladder]) => {
      const session = db.session(token, { ladder })
      const error = await settled(failure(session.query(BODIES)), `a read with the ladder ${name}`)
      return [name, error ?? session.lastOutcome] as const
    })
    const { default: refused, ...others } = Object.fromEntries(await Promise.all(answers))
    expect(refused).toBeInstanceOf(NotServedError)
    expect(others['not ready']).toBeInstanceOf(NotReadyError)
    expect(others.stale).toMatchObject({ rung: 'stale', guarantee: 'eventual' })
    // Nothing is known of them, and only the primary could tell.
    const unknown = db.session(undefined, { user: 'somebody' })
    expect(await settled(failure(unknown.query(BODIES)), 'a read of an uncertain session')).toBeInstanceOf(NotServedError)
    expect(await settled(failure(db.session().query(SAVE, ['x'])), 'a write')).toBeInstanceOf(Error)
  }
  await cluster.kill('primary')
  // Before it is noticed, and after.
  await check()
  await until(() => !statusOf('primary').usable, 'the loss is noticed')
  await check()
  await cluster.start('primary')
  await until(() => statusOf('primary').usable, 'the primary is back')
  // Control: what could not be served was there to be read.
  const back = db.session(token)
  expect((await settled(back.query(BODIES), 'a read')).rows).toEqual([{ body: 'kept' }, { body: 'nowhere else' }])
  expect(back.lastOutcome).toMatchObject({ node: 'primary', guarantee: 'read-your-writes', possiblyLost: false })
})
