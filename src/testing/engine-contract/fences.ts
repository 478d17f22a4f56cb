/** Rules 1 and 5: which nodes serve an author's reads. */
import assert from 'node:assert/strict'
import { primary, replica, wait } from '../../core/ladder.js'
import type { Outcome } from '../../core/outcome.js'
import { quorum } from '../../core/quorum.js'
import type { ContractCase } from './contract-case.js'
import { collected } from './events.js'
import { pause } from './positions.js'

export const fences: readonly ContractCase[] = [
  {
    name: 'a replica that is behind serves no fenced read, and does once it has caught up',
    async run(stage) {
      const { cluster } = stage
      const [name] = cluster.replicas
      const specs = [cluster.primary, name].map(each => cluster.spec(each))
      const { client, session } = await stage.open({ specs, ladder: [replica(), primary()] })
      await pause(stage, name)
      const author = session()
      const key = stage.newKey()
      await client.write(author, key, 'new')
      for (let i = 0; i < 10; i++) {
        assert.equal(await client.read(author, key), 'new')
        assert.deepEqual([author.lastOutcome?.node, author.lastOutcome?.guarantee], [cluster.primary, 'read-your-writes'])
      }
      // Control: an unfenced read goes to the replica, and misses the write.
      assert.equal(await client.read('eventual', key), undefined)
      await cluster.resume(name)
      const served = async () => {
        assert.equal(await client.read(author, key), 'new')
        return author.lastOutcome?.node === name
      }
      await stage.until(served, 'the replica serves')
    },
  },
  {
    name: 'on a system that falls idle a fence opens',
    async run(stage) {
      const { client, session } = await stage.open({ ladder: [replica(), wait({ budgetMs: 10_000 })] })
      const author = session()
      const key = stage.newKey()
      await client.write(author, key, 'new')
      assert.equal(await stage.settled(client.read(author, key), 'a read of what was written last'), 'new')
      assert.ok(stage.cluster.replicas.some(name => name === author.lastOutcome?.node))
    },
  },
  {
    name: 'behind an address that hides several servers, check and read reach the same one',
    needs: ['balanced'],
    async run(stage) {
      const { cluster } = stage
      const [behind, ahead] = cluster.replicas
      const address = cluster.balanced!(cluster.replicas)
      const specs = [cluster.spec(cluster.primary), address]
      const { client, session } = await stage.open({ specs, ladder: [replica(), primary()] })
      await pause(stage, behind)
      const author = session()
      const key = stage.newKey()
      await client.write(author, key, 'new')
      await cluster.caughtUp(ahead)
      // At once, so that connections to both servers are in use.
      const atOnce = (scope: 'eventual' | typeof author) => Promise.all(Array.from({ length: 40 }, () => client.read(scope, key)))
      const outcomes: Outcome[] = await collected('tidemark:read', async () => {
        assert.deepEqual(new Set(await atOnce(author)), new Set(['new']))
      })
      assert.ok(
        outcomes.some(({ node }) => node === address.id),
        'the one that has caught up serves',
      )
      // Control: the other one is there, and unfenced reads that reach it miss the write.
      assert.ok((await atOnce('eventual')).includes(undefined), 'the address leads to both')
    },
  },
  {
    name: 'a quorum reads from the freshest of those that answer',
    async run(stage) {
      const { cluster } = stage
      const [behind] = cluster.replicas
      const both = quorum(2, { timeoutMs: 10_000 })
      const { client, session } = await stage.open({ ladder: [both], writePolicy: both })
      await pause(stage, behind)
      const key = stage.newKey()
      await client.write(session(), key, 'new')
      // Strangers, who have no token, in all the orders in which nodes are asked.
      for (let i = 0; i < 6; i++) {
        const stranger = session()
        assert.equal(await client.read(stranger, key), 'new')
        assert.equal(stranger.lastOutcome?.rung, 'quorum(2)')
      }
      // Control: one of those that were asked has not got it.
      assert.equal(await cluster.show(behind, key), undefined)
    },
  },
  {
    name: 'with monotonic reads, what was seen once stays seen on every node',
    async run(stage) {
      const { cluster } = stage
      const [behind, ahead] = cluster.replicas
      const on = async (name: string) => {
        const specs = [cluster.primary, name].map(each => cluster.spec(each))
        return stage.open({ specs, guarantee: 'monotonic-reads', ladder: [replica(), primary()] })
      }
      const [first, second] = [await on(ahead), await on(behind)]
      await pause(stage, behind)
      const key = stage.newKey()
      await first.client.write(first.session(), key, 'new')
      await cluster.caughtUp(ahead)
      // Somebody else, who saw it on one replica and comes to the other with a token.
      const reader = first.session()
      assert.equal(await first.client.read(reader, key), 'new')
      const elsewhere = second.session(reader.token())
      assert.equal(await second.client.read(elsewhere, key), 'new')
      // Control: that one has not got it.
      assert.equal(await second.client.read('eventual', key), undefined)
    },
  },
]
