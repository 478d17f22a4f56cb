/** Rules 1, 4 and 8: restarts, older copies, promotions, and what becomes of what was written before. */
import assert from 'node:assert/strict'
import { EMPTY_HISTORY } from '../../core/history.js'
import { Position } from '../../core/position.js'
import type { ContractCase } from './contract-case.js'
import { collected } from './events.js'
import type { Opened, Stage } from './stage.js'

/** The monitor does not look again within a case: what it remembers is about the node as it was. */
const MONITOR_SLEEPS = { pollIntervalMs: 60_000 }

export const lives: readonly ContractCase[] = [
  {
    name: 'a new incarnation is noticed on a new connection, before its first use',
    needs: ['restart'],
    async run(stage) {
      const [name] = stage.cluster.replicas
      const { node } = await stage.open(MONITOR_SLEEPS)
      const target = node(name)
      const before = await stage.where(target)
      await stage.cluster.restart!(name)
      await stage.until(async () => {
        const lease = target.take(false) ?? (await target.acquired(false))
        // A connection of the old life may still be about, as long as it says so; it is broken.
        const seen = await target.locate(lease).catch(() => undefined)
        const picture = target.node.incarnation
        lease.release(seen === undefined)
        if (seen === undefined) return false
        assert.equal(lease.incarnation, seen.incarnation)
        assert.equal(picture, seen.incarnation, 'the connection must be entered into the picture before its first use')
        assert.notEqual(seen.incarnation, before.incarnation, 'a restart begins a new incarnation')
        return true
      }, `${name} answers again`)
    },
  },
  {
    name: 'a replica that was rebuilt from an older copy serves nothing that it has not got',
    needs: ['rebuild'],
    spoils: true,
    async run(stage) {
      const { cluster } = stage
      const [name] = cluster.replicas
      const specs = [cluster.primary, name].map(each => cluster.spec(each))
      const { client, session } = await stage.open({ specs, ...MONITOR_SLEEPS })
      const author = session()
      const key = stage.newKey()
      await cluster.rebuild!(name, async () => {
        await client.write(author, key, 'new')
        const known = async () => {
          await client.read(author, key)
          return author.lastOutcome?.node === name
        }
        await stage.until(known, 'the replica is known to have the write')
      })
      const reads = await Promise.all(Array.from({ length: 20 }, () => client.read(author, key)))
      assert.deepEqual(new Set(reads), new Set(['new']))
      assert.equal(author.lastOutcome?.node, cluster.primary)
      // Control: the rebuilt replica does answer, and has not got the write.
      assert.equal(await cluster.show(name, key), undefined)
    },
  },
  {
    name: 'after a promotion the new primary is written to, and the old one is refused',
    needs: ['promotion'],
    spoils: true,
    async run(stage) {
      const { cluster } = stage
      const [name] = cluster.replicas
      const opened = await stage.open()
      const { client, session, database, node } = opened
      const before = database.cluster.lineage
      await promote(stage, opened)
      assert.notEqual(database.cluster.lineage, before, 'a promotion begins a new history')
      const lease = await node(name).acquired(false)
      assert.equal(lease.writes, database.cluster.lineage)
      lease.release()
      await stage.until(() => !database.cluster.node(cluster.primary).usable, 'the old primary is refused')
      const key = stage.newKey()
      for (let i = 0; i < 5; i++) {
        const author = session()
        await client.write(author, key, `new ${i}`)
        assert.equal(author.history.writes.entries[0]?.lineage, database.cluster.lineage)
        assert.equal(await client.read(author, key), `new ${i}`)
      }
      assert.equal(await cluster.show(name, key), 'new 4')
      assert.equal(await cluster.show(cluster.primary, key), undefined)
    },
  },
  {
    name: 'what a promotion has kept is preserved: for who saw it, and by the record for who did not',
    needs: ['promotion', 'history'],
    spoils: true,
    async run(stage) {
      const opened = await stage.open()
      const key = stage.newKey()
      const author = opened.session()
      await opened.client.write(author, key, 'kept')
      const token = author.token()
      await stage.cluster.caughtUp()
      await promote(stage, opened)
      const specs = stage.cluster.replicas.map(each => stage.cluster.spec(each))
      for (const { client, session } of [opened, await stage.open({ specs })]) {
        const reader = session(token)
        assert.equal(await client.read(reader, key), 'kept')
        assert.deepEqual([reader.lastOutcome?.possiblyLost, reader.lastOutcome?.guarantee], [false, 'read-your-writes'])
      }
    },
  },
  {
    name: 'what a promotion has cut off is told to be possibly lost, once, and the session goes on',
    needs: ['promotion', 'history'],
    spoils: true,
    async run(stage) {
      const { cluster } = stage
      const opened = await stage.open()
      const { client, session } = opened
      for (const each of cluster.replicas) {
        await cluster.caughtUp(each)
        await cluster.isolate!(each)
      }
      const key = stage.newKey()
      const author = session()
      await client.write(author, key, 'cut off')
      await promote(stage, opened)
      const told = await collected('tidemark:possibly-lost', async () => {
        assert.equal(await client.read(author, key), undefined)
        assert.deepEqual([author.lastOutcome?.possiblyLost, author.lastOutcome?.guarantee], [true, 'eventual'])
        await client.read(author, key)
      })
      assert.deepEqual(
        told.map(({ verdict }) => verdict),
        ['possibly-lost'],
      )
      await client.write(author, key, 'again')
      assert.equal(await client.read(author, key), 'again')
      assert.equal(author.lastOutcome?.possiblyLost, false)
    },
  },
  {
    name: 'what was written in another system is foreign',
    async run(stage) {
      const { client, session, database } = await stage.open()
      const writes = Position.at('another system/1', 1n)
      const author = session(database.sessions.codec.encode({ ...EMPTY_HISTORY, writes }))
      const told = await collected('tidemark:possibly-lost', async () => {
        assert.equal(await client.read(author, stage.newKey()), undefined)
      })
      assert.deepEqual(
        told.map(({ verdict }) => verdict),
        ['foreign'],
      )
      assert.equal(author.lastOutcome?.possiblyLost, true)
    },
  },
]

/** The first replica becomes the primary, and the database knows. */
async function promote(stage: Stage, { database }: Opened): Promise<void> {
  const [name] = stage.cluster.replicas
  await stage.cluster.promote!(name)
  await stage.until(() => database.cluster.primary?.id === name && database.cluster.primary.usable, 'the promotion is known')
}
