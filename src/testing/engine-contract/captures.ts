/** Rule 2: the position of a commit. */
import assert from 'node:assert/strict'
import { lineageOf } from '../../core/engine.js'
import type { ContractCase } from './contract-case.js'
import { appliedOf, pause } from './positions.js'
import type { Stage } from './stage.js'

export const captures: readonly ContractCase[] = [
  {
    name: 'the position of a write includes its commit',
    run: stage => includesCommit(stage, false),
  },
  {
    name: 'the position of a write includes its commit, also when that is asynchronous',
    needs: ['asynchronousCommit'],
    run: stage => includesCommit(stage, true),
  },
  {
    name: 'when the answer to a commit is lost the session is uncertain, until the primary has served it',
    needs: ['lostAnswer'],
    async run(stage) {
      const { cluster } = stage
      const { client, session, database, node } = await stage.open()
      const author = session()
      const key = stage.newKey()
      await pause(stage, cluster.replicas[0])
      await pause(stage, cluster.replicas[1])
      // So that there is a connection whose answers are lost.
      await client.write(author, stage.newKey(), 'before')
      await cluster.deafen!(cluster.primary)
      const failing = stage.failure(client.write(author, key, 'new'), 'a write whose answer is lost')
      await stage.until(async () => (await cluster.show(cluster.primary, key)) === 'new', 'the server has committed')
      await cluster.disconnect!(cluster.primary)
      await failing
      assert.equal(author.history.uncertain, true)
      assert.equal(author.lastWrite?.policy, undefined)
      await stage.until(() => node(cluster.primary).node.usable, 'the primary is used again')
      assert.equal(await client.read(author, key), 'new')
      assert.equal(author.lastOutcome?.node, cluster.primary)
      // The primary's position settles it: from here on the fence decides.
      assert.equal(author.history.uncertain, false)
      assert.equal(author.history.writes.isZero, false)
      assert.equal(database.cluster.verdict(author.history.writes.entries[0]!.lineage, 0n), 'preserved')
    },
  },
]

async function includesCommit(stage: Stage, asynchronous: boolean): Promise<void> {
  const { cluster } = stage
  const [name] = cluster.replicas
  const { client, session, node } = await stage.open()
  await pause(stage, name)
  const before = await stage.where(node(name))
  const author = session()
  const key = stage.newKey()
  await client.write(author, key, 'new', { asynchronous })
  const [entry, ...others] = author.history.writes.entries
  assert.ok(entry !== undefined, 'the write must have a position')
  assert.deepEqual(others, [])
  assert.equal(entry.lineage, lineageOf(before.system, before.epoch!))
  // The replica had applied all there was before the write: a position that it has reached does not include the write.
  assert.ok(entry.offset > appliedOf(before), `the write is at ${entry.offset}, which ${name} had applied before it`)
  assert.equal(await cluster.show(name, key), undefined)
  assert.equal(author.lastWrite?.acknowledged, true)
  // And whoever has reached it shows the write.
  await cluster.resume(name)
  const reached = async () => appliedOf(await stage.where(node(name))) >= entry.offset
  await stage.until(reached, `${name} comes to ${entry.offset}, with nothing written meanwhile`)
  assert.equal(await cluster.show(name, key), 'new')
}
