/** Rule 1: what nodes say of where they are. */
import assert from 'node:assert/strict'
import { lineageOf, type Observation } from '../../core/engine.js'
import { primary, replica } from '../../core/ladder.js'
import type { ContractCase } from './contract-case.js'
import type { Stage } from './stage.js'

export const positions: readonly ContractCase[] = [
  {
    name: 'within an incarnation positions only grow',
    async run(stage) {
      const { client, session, node } = await stage.open()
      const author = session()
      const key = stage.newKey()
      for (const name of stage.nodes) {
        let before: Observation | undefined
        const first = await stage.where(node(name))
        for (let i = 0; i < 20; i++) {
          await client.write(author, key, String(i))
          const seen = i % 2 === 0 ? await stage.where(node(name)) : await node(name).probe(5_000)
          if (before !== undefined && before.incarnation === seen.incarnation) {
            assert.equal(seen.system, before.system)
            assert.equal(seen.epoch, before.epoch)
            assert.ok(appliedOf(seen) >= appliedOf(before), `${name} went back from ${before.applied} to ${seen.applied}`)
          }
          assert.ok(seen.sentAt <= seen.receivedAt)
          before = seen
        }
        await stage.until(async () => appliedOf(await stage.where(node(name))) > appliedOf(first), `${name} gets on`)
      }
    },
  },
  {
    name: 'a server is the primary or a replica, of one system, with an incarnation of its own',
    async run(stage) {
      const { node } = await stage.open()
      const seen = await Promise.all(stage.nodes.map(name => stage.where(node(name))))
      assert.deepEqual(
        seen.map(({ role }) => role),
        ['primary', 'replica', 'replica'],
      )
      assert.equal(new Set(seen.map(({ system, epoch }) => `${system}/${epoch}`)).size, 1)
      assert.equal(new Set(seen.map(({ incarnation }) => incarnation)).size, 3)
    },
  },
  {
    name: 'what is asked on a lease is answered by the server behind it',
    async run(stage) {
      const [paused, other] = stage.cluster.replicas
      const { client, session, node } = await stage.open()
      await pause(stage, paused)
      await client.write(session(), stage.newKey(), 'new')
      await stage.cluster.caughtUp(other)
      const behind = await stage.where(node(paused))
      const ahead = await stage.where(node(other))
      assert.ok(appliedOf(behind) < appliedOf(ahead), `${paused} is paused, at ${behind.applied}; ${other} at ${ahead.applied}`)
      const lease = await node(paused).acquired(false)
      assert.equal(lease.incarnation, behind.incarnation)
      lease.release()
    },
  },
  {
    name: 'on an idle system replicas come to where the primary says that it is',
    run: idle,
  },
  {
    name: 'on an idle system replicas come to where the primary says that it is, at a boundary too',
    needs: ['boundary'],
    async run(stage) {
      await stage.cluster.toBoundary!()
      await idle(stage)
    },
  },
  {
    name: 'a replica that does not know in which history it is serves no fenced read',
    needs: ['unknownPosition'],
    async run(stage) {
      const [name] = stage.cluster.replicas
      const before = await stage.open()
      const key = stage.newKey()
      const author = before.session()
      await before.client.write(author, key, 'new')
      await stage.cluster.caughtUp()
      await stage.cluster.unsay!(name)
      stage.finally(() => stage.cluster.resay!(name))
      // It has the write, and nobody knows.
      assert.equal(await stage.cluster.show(name, key), 'new')
      const specs = [stage.cluster.primary, name].map(each => stage.cluster.spec(each))
      const { client, session, node } = await stage.open({ specs, ladder: [replica(), primary()] })
      const { epoch, applied } = await stage.where(node(name))
      assert.ok(epoch === undefined || applied === undefined, 'it must not say a position that it does not know')
      const reader = session(author.token())
      for (let i = 0; i < 5; i++) {
        assert.equal(await client.read(reader, key), 'new')
        assert.equal(reader.lastOutcome?.node, stage.cluster.primary)
      }
      // Control: without a fence it serves.
      assert.equal(await client.read('eventual', key), 'new')
    },
  },
]

async function idle(stage: Stage): Promise<void> {
  const { node } = await stage.open()
  const at = await stage.where(node(stage.cluster.primary))
  for (const name of stage.cluster.replicas) {
    const has = async () => {
      const seen = await stage.where(node(name))
      return sameHistory(seen, at) && appliedOf(seen) >= appliedOf(at)
    }
    await stage.until(has, `${name} comes to ${at.applied}, with nothing written meanwhile`)
  }
}

function sameHistory(a: Observation, b: Observation): boolean {
  return a.epoch !== undefined && b.epoch !== undefined && lineageOf(a.system, a.epoch) === lineageOf(b.system, b.epoch)
}

export function appliedOf({ applied }: Observation): bigint {
  assert.ok(applied !== undefined, 'a node that is well must say where it is')
  return applied
}

/** Pauses a replica that has applied all there is, for this case. */
export async function pause(stage: Stage, name: string): Promise<void> {
  await stage.cluster.caughtUp(name)
  await stage.cluster.pause(name)
  stage.finally(async () => {
    await stage.cluster.resume(name)
    await stage.cluster.caughtUp(name)
  })
}
