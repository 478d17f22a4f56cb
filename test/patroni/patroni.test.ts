/** Rules 4 and 8 with the failover manager that people use: Patroni moves the primary, nobody tells Tidemark. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Tidemark, tidemark } from '../../src/engines/postgres/index.js'
import { portOf, SECRET, until } from '../support/database.js'
import { ask, type NodeName, type PatroniCluster, patroniMissing, startPatroni } from '../support/patroni.js'
import { type Acknowledged, Application, read, readAll, TABLE } from './application.js'

if (patroniMissing !== undefined) console.warn(`test/patroni/patroni.test.ts: ${patroniMissing}`)

const FAILOVER_MS = 60_000
const TIMEOUT_MS = 120_000
const KEPT = { isThere: true, guarantee: 'read-your-writes', possiblyLost: false }

describe.skipIf(patroniMissing !== undefined)(`with Patroni${patroniMissing === undefined ? '' : ` (${patroniMissing})`}`, () => {
  let patroni: PatroniCluster
  let db: Tidemark
  let application: Application
  const lost: unknown[] = []
  const listener = (message: unknown) => lost.push(message)

  beforeAll(async () => {
    patroni = await startPatroni()
    await ask(patroni.url(await patroni.leader()), TABLE)
    // Not made anew for as long as the tests run.
    db = await open()
    subscribe('tidemark:possibly-lost', listener)
    application = new Application(db)
  }, TIMEOUT_MS)
  afterAll(async () => {
    unsubscribe('tidemark:possibly-lost', listener)
    await application?.stop()
    await db?.close()
    await patroni?.close()
  }, TIMEOUT_MS)

  /** Nobody is declared the primary. */
  function open(): Promise<Tidemark> {
    const nodes = patroni.nodes.map(name => ({ name, url: patroni.url(name) }))
    return tidemark({ nodes, secret: SECRET, pollIntervalMs: 50, onWarning: () => {} })
  }

  /** The same reads in another process, which has not seen the change itself and has only the primary's record to go by. */
  async function readElsewhere(written: readonly Acknowledged[]) {
    await using other = await open()
    return await readAll(other, written)
  }

  const statusOf = (node: NodeName) => db.status().find(status => status.node === node)!
  const primary = () => db.status().find(status => status.role === 'primary' && status.usable)
  const isStandbyOf = (node: NodeName, timeline: number) =>
    statusOf(node).role === 'replica' && statusOf(node).usable && statusOf(node).timeline === timeline

  /** The node serves reads again, and fenced ones. */
  async function isReadFrom(node: NodeName, written: Acknowledged): Promise<void> {
    await until(async () => (await read(db, written)).node === node, `${node} is read from`, FAILOVER_MS)
    expect(await read(db, written)).toMatchObject(KEPT)
  }

  /** Everything written so far has been replayed by both standbys; resolves to how many writes that are. */
  async function replicated(leader: NodeName): Promise<number> {
    const count = application.acknowledged.length
    const [here] = await ask<{ lsn: string }>(patroni.url(leader), 'SELECT pg_current_wal_insert_lsn()::text AS lsn')
    const sql = 'SELECT count(*)::int AS n FROM pg_stat_replication WHERE replay_lsn >= $1::pg_lsn'
    const arrived = async () => (await ask<{ n: number }>(patroni.url(leader), sql, [here!.lsn]))[0]!.n === 2
    await until(arrived, 'the standbys have caught up', FAILOVER_MS)
    return count
  }

  /** No write went back in history, and none went to a server that was not the primary. */
  function expectOrder(): void {
    const timelines = application.acknowledged.map(({ note }) => note.timeline)
    expect(timelines).toEqual([...timelines].sort((a, b) => a - b))
    expect(new Set(application.acknowledged.map(({ note: { timeline, port } }) => `${timeline} ${port}`)).size).toBe(
      new Set(timelines).size,
    )
    // What a server in recovery says to a write.
    expect(application.failures.map(({ code }) => code)).not.toContain('25006')
    expect(application.broken).toEqual([])
  }

  function tellGap(what: string, from: number): void {
    const failed = [
      ...new Set(application.failures.filter(({ at }) => at >= application.acknowledged[from]!.at).map(({ code }) => code)),
    ].join(', ')
    console.info(
      `${what}: ${Math.round(application.longestGap(from))} ms without a writable primary for the application (writes failed with: ${failed})`,
    )
  }

  test('a switchover: the application goes on, and every write of before is there for who wrote it', {
    timeout: TIMEOUT_MS,
  }, async () => {
    const old = await patroni.leader()
    const candidate = patroni.nodes.find(node => node !== old)!
    await application.goesOn()
    const timeline = primary()!.timeline!
    const from = application.acknowledged.length - 1

    await patroni.switchover(old, candidate)
    await until(() => primary()?.node === candidate, `${candidate} is known to be the primary`, FAILOVER_MS)
    await application.goesOn()
    expect(application.acknowledged.at(-1)!.note.port).toBe(portOf(patroni.url(candidate)))
    tellGap('switchover', from)

    // Control: it is another history that the tokens of before are read in.
    const before = application.acknowledged.filter(({ note }) => note.timeline === timeline)
    expect(before.length).toBeGreaterThanOrEqual(20)
    expect(primary()!.timeline).toBeGreaterThan(timeline)
    for (const each of await readAll(db, before)) expect(each).toMatchObject(KEPT)
    for (const each of await readElsewhere(before)) expect(each).toMatchObject(KEPT)

    await until(() => isStandbyOf(old, primary()!.timeline!), `${old} has rejoined as a standby`, FAILOVER_MS)
    await isReadFrom(old, before[0]!)
    await isReadFrom(old, application.acknowledged.at(-1)!)
    expect(lost).toEqual([])
    expect(application.reported).toEqual([])
    expectOrder()
  })

  test('a failover: the application goes on, and of every write it is known whether it is there', {
    timeout: TIMEOUT_MS,
  }, async () => {
    const old = await patroni.leader()
    await application.goesOn()
    const timeline = primary()!.timeline!
    const kept = await replicated(old)
    const from = application.acknowledged.length - 1
    await patroni.holdReplication(old)
    const held = application.lastId
    await application.goesOn()
    await patroni.kill(old)
    await until(() => primary() !== undefined && primary()!.node !== old, 'there is a new primary', FAILOVER_MS)
    await application.goesOn()
    tellGap('failover', from)

    const current = primary()!
    expect(current.timeline).toBeGreaterThan(timeline)
    const before = application.acknowledged.filter(({ note }) => note.timeline <= timeline)
    for (const seen of [await readAll(db, before), await readElsewhere(before)]) {
      for (const each of seen) expect(each.isThere || each.possiblyLost).toBe(true)
      for (const each of seen.slice(0, kept)) expect(each).toMatchObject(KEPT)
      // Control: there are writes that the application was told had succeeded, and that are lost; all of them are reported.
      const gone = seen.filter((_, i) => before[i]!.note.id > held)
      expect(gone.length).toBeGreaterThanOrEqual(10)
      for (const each of gone) expect(each).toMatchObject({ isThere: false, possiblyLost: true, guarantee: 'eventual' })
    }

    // The old primary comes back as it was, before Patroni can see to it.
    const lastId = application.lastId
    patroni.startPostgres(old)
    await until(() => statusOf(old).problem?.includes('old primary') === true, `${old} is recognised`, FAILOVER_MS)
    await application.goesOn()
    expect(primary()!.node).toBe(current.node)
    // Control: it would have taken the writes. It got none.
    await ask(patroni.url(old), 'INSERT INTO notes VALUES (-1)')
    expect(await ask(patroni.url(old), 'SELECT count(*)::int AS n FROM notes WHERE id > $1', [lastId])).toEqual([{ n: 0 }])
    await patroni.killPostgres(old)

    patroni.start(old)
    await until(() => isStandbyOf(old, primary()!.timeline!), `${old} has rejoined as a standby`, FAILOVER_MS)
    await isReadFrom(old, before[0]!)
    await isReadFrom(old, application.acknowledged.at(-1)!)
    expect(await ask(patroni.url(old), 'SELECT id FROM notes WHERE id = -1')).toEqual([])
    expectOrder()
  })
})
