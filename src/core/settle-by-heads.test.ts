import { describe, expect, test } from 'vitest'
import { logOf, peerAnswer, peersAt, SECRET, vector } from '../../test/core/kit.js'
import type { Observation } from './engine.js'
import { fenceOf } from './fence.js'
import { Monitor } from './monitor.js'
import { MAX_OFFSET, Position } from './position.js'
import { Session } from './session.js'
import { settleByHeads, settleTold } from './settle-by-heads.js'
import { TokenCodec } from './token/codec.js'
import { VirtualClock } from './virtual-clock.js'
import { WaitingRoom } from './waiting-room.js'

/** Peers eu, us and ap, each where `says` has it; one that is not there does not answer. */
function open() {
  const clock = new VirtualClock()
  const cluster = peersAt({ eu: { eu: 10, us: 5 }, us: { us: 7, eu: 9 }, ap: { eu: 2 } })
  const says: Record<string, { log?: string; applied: Position }> = {
    eu: { applied: vector({ eu: 12, us: 5 }) },
    us: { applied: vector({ us: 8, eu: 9 }) },
    ap: { applied: vector({ eu: 2 }) },
  }
  const silent = new Set<string>()
  let asked = 0
  const probe = async (id: string): Promise<Observation> => {
    asked++
    const seen = says[id]
    if (seen === undefined) throw new Error('cut')
    const answer = peerAnswer(seen.log ?? logOf(id), seen.applied, clock.now())
    return silent.has(id) ? { ...answer, peer: undefined } : answer
  }
  const monitor = new Monitor(cluster, new WaitingRoom(cluster, clock), probe, clock)
  const session = new Session({ codec: new TokenCodec({ secret: SECRET, clock }), clock }, undefined, {})
  return {
    cluster,
    monitor,
    says,
    silent,
    session,
    asked: () => asked,
    prepare: () => settleByHeads(session, { cluster, monitor, clock }),
    fence: () => fenceOf(session.history, session.guarantee, cluster),
  }
}

describe('an uncertain session', () => {
  test('is settled by what every peer has, asked after the doubt; it then waits for all of that', async () => {
    const { session, prepare, fence, monitor } = open()
    session.wrote(vector({ ap: 1 }))
    session.doubt()
    await prepare()
    expect(fence()).toEqual({ kind: 'vector', position: vector({ eu: 12, us: 8, ap: 1 }) })
    monitor.stop()
  })

  test('is not while one peer cannot be asked: that may be the one that has the write', async () => {
    for (const silent of ['eu', 'us', 'ap']) {
      const { session, says, prepare, fence, monitor } = open()
      session.doubt()
      const answer = says[silent]!
      delete says[silent]
      await prepare()
      expect(fence()).toEqual({ kind: 'primary' })
      says[silent] = answer
      await prepare()
      expect(fence().kind).toBe('vector')
      monitor.stop()
    }
  })

  test('is not by a peer that answers and does not say where it is', async () => {
    const { session, silent, prepare, fence, monitor } = open()
    session.doubt()
    silent.add('us')
    await prepare()
    expect(fence()).toEqual({ kind: 'primary' })
    silent.delete('us')
    await prepare()
    expect(fence().kind).toBe('vector')
    monitor.stop()
  })

  test('is not when another doubt came up meanwhile', async () => {
    const { session, prepare, fence, monitor } = open()
    session.doubt()
    const preparing = prepare()
    session.doubt()
    await preparing
    expect(fence()).toEqual({ kind: 'primary' })
    monitor.stop()
  })

  test('also needs what others have of a log that has lost its end', async () => {
    const { session, says, prepare, fence, monitor } = open()
    session.doubt()
    says.eu = { log: logOf('eu', 2), applied: vector({ eu: 4, us: 5, [logOf('eu', 2)]: 3 }) }
    await prepare()
    expect(fence()).toEqual({ kind: 'vector', position: vector({ eu: 9, us: 8, [logOf('eu', 2)]: 3 }) })
    monitor.stop()
  })

  test('with an acknowledged write somewhere in a log: before its end; unless it has lost that, which is told', async () => {
    const { session, says, prepare, fence, monitor } = open()
    session.doubt(logOf('eu'), true)
    await prepare()
    expect(fence()).toEqual({ kind: 'vector', position: vector({ eu: 12, us: 8 }) })
    session.doubt(logOf('eu'), true)
    says.eu = { log: logOf('eu', 2), applied: vector({ eu: 4, us: 5 }) }
    await prepare()
    const lost = vector({ eu: MAX_OFFSET })
    expect(fence()).toMatchObject({ kind: 'possibly-lost', position: lost, verdict: 'possibly-lost' })
    settleTold(session, fence(), session.doubts)
    expect(fence()).toEqual({ kind: 'at', lineage: logOf('us'), offset: 8n })
    monitor.stop()
  })
})

describe('a certain session', () => {
  test('asks nobody when its logs go on, and everybody once when nobody is known to continue one', async () => {
    const { session, prepare, asked, monitor } = open()
    session.wrote(vector({ eu: 99, us: 3 }))
    expect(prepare()).toBeUndefined()
    session.wrote(Position.at('other/eu/1', 1n))
    await prepare()
    expect(asked()).toBe(3)
    monitor.stop()
  })

  test('lets go of what was told, and of nothing else', async () => {
    const { session, cluster, says, prepare, fence, monitor } = open()
    session.wrote(vector({ eu: 12, us: 6 }))
    says.eu = { log: logOf('eu', 2), applied: vector({ eu: 4, us: 5 }) }
    await monitor.refresh()
    await prepare()
    const lost = fence()
    expect(lost).toMatchObject({ kind: 'possibly-lost', position: vector({ eu: 12 }), rest: vector({ us: 6 }) })
    const { doubts } = session
    session.wrote(vector({ [logOf('eu', 2)]: 1 }))
    settleTold(session, lost, doubts)
    // What came up meanwhile is judged by the next read; until then nothing is dropped.
    expect(fence()).toMatchObject({ kind: 'possibly-lost' })
    settleTold(session, fence(), session.doubts)
    expect(fence()).toEqual({ kind: 'vector', position: vector({ us: 6, [logOf('eu', 2)]: 1 }) })
    expect(cluster.verdict(logOf('eu'), 12n)).toBe('possibly-lost')
    monitor.stop()
  })

  test('told of a loss while it is uncertain stays so', async () => {
    const { session, says, prepare, fence, monitor } = open()
    session.wrote(Position.at('other/eu/1', 1n))
    await monitor.refresh()
    await prepare()
    const lost = fence()
    session.doubt()
    delete says.ap
    settleTold(session, lost, session.doubts)
    await prepare()
    expect(fence()).toEqual({ kind: 'primary' })
    monitor.stop()
  })
})

test('in a cluster with a primary there is nothing to do', () => {
  const { session, monitor } = open()
  session.doubt()
  const { cluster } = { cluster: { logs: undefined } } as Parameters<typeof settleByHeads>[1]
  expect(settleByHeads(session, { cluster, monitor, clock: new VirtualClock() })).toBeUndefined()
})
