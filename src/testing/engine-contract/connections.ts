/** What connections do, and that everything ends. */
import assert from 'node:assert/strict'
import type { ContractCase } from './contract-case.js'

export const connections: readonly ContractCase[] = [
  {
    name: 'a connection is checked before it is handed out, and says what it leads to',
    async run(stage) {
      for (const name of stage.nodes) {
        const target = stage.bare(name)
        assert.equal(target.node.incarnation, undefined)
        assert.equal(target.take(), undefined)
        const lease = await stage.acquire(target)
        // The picture knows before anybody could have used it.
        assert.equal(target.node.incarnation, lease.incarnation)
        assert.equal(lease.writes !== undefined, name === stage.cluster.primary)
        assert.equal(target.node.role, name === stage.cluster.primary ? 'primary' : 'replica')
        if (lease.writes !== undefined) assert.equal(lease.writes, target.node.lineage)
        stage.release(lease)
      }
    },
  },
  {
    name: 'whoever has given up gets no connection',
    async run(stage) {
      const reason = new Error('given up')
      const target = stage.bare(stage.cluster.replicas[0])
      assert.equal(await stage.failure(target.acquired(undefined, AbortSignal.abort(reason)), 'an aborted acquisition'), reason)
      const abort = new AbortController()
      const acquiring = stage.failure(target.acquired(undefined, abort.signal), 'an acquisition that is aborted')
      abort.abort(reason)
      assert.equal(await acquiring, reason)
    },
  },
  {
    name: 'a server that does not answer fails a probe, within its deadline',
    needs: ['silence'],
    async run(stage) {
      const [name] = stage.cluster.replicas
      const target = stage.bare(name)
      // On a connection that is there already, and on one that is not.
      await target.probe(5_000)
      await stage.cluster.freeze!(name)
      stage.finally(() => stage.cluster.thaw!(name))
      await stage.failure(target.probe(200), 'a probe of a server that is silent')
      await stage.failure(target.probe(200), 'another probe of a server that is silent')
    },
  },
  {
    name: 'a cut connection fails what runs on it',
    async run(stage) {
      const target = stage.bare(stage.cluster.primary)
      const lease = await stage.acquire(target)
      const running = stage.failure(stage.cluster.hang(lease), 'what ran on a connection that was cut')
      target.cut(lease)
      await running
      stage.release(lease, true)
      // The next one is another one.
      const next = await stage.acquire(target)
      assert.equal((await target.locate(next)).role, 'primary')
      stage.release(next)
    },
  },
  {
    name: 'what is closed gives no connection and answers no probe',
    async run(stage) {
      const target = stage.bare(stage.cluster.primary)
      const lease = await stage.acquire(target)
      await target.probe(5_000)
      stage.release(lease)
      await stage.settled(target.close(), 'closing')
      await stage.settled(target.close(), 'closing again')
      assert.equal(target.take(), undefined)
      await stage.failure(target.acquired(), 'a connection of a node that is closed')
      await stage.failure(target.probe(1_000), 'a probe of a node that is closed')
    },
  },
  {
    name: 'what is closed leaves no connection open',
    needs: ['connectionCount'],
    async run(stage) {
      const name = stage.cluster.primary
      const count = () => stage.cluster.connections!(name)
      await stage.until(async () => (await count()) === 0, 'nobody is connected')
      const target = stage.bare(name)
      const lease = await stage.acquire(target)
      await target.probe(5_000)
      assert.ok((await count()) > 0)
      stage.release(lease)
      await stage.settled(target.close(), 'closing')
      await stage.until(async () => (await count()) === 0, 'nobody is connected any more')
    },
  },
]
