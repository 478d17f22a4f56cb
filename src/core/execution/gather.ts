/**
 * The read side of a quorum: asks several nodes where they are, each on a connection of its own, and leaves the caller with
 * the connection to the freshest. The read is then sent on that very connection, so it goes to the server that was asked.
 */
import type { Clock, Timer } from '../clock.js'
import type { Cluster } from '../cluster.js'
import { hadApplied, lineageOf, type Observation } from '../engine.js'
import { publish } from '../events.js'
import type { Fence } from '../fence.js'
import { freshestPeer } from '../freshest.js'
import type { Gather } from '../ladder.js'
import type { Node } from '../node.js'
import { Position } from '../position.js'
import { Reroute } from '../router.js'
import type { EngineNode, Lease } from './engine.js'
import type { NodeLease } from './execution-context.js'

export interface GatherContext<L extends Lease> {
  readonly cluster: Cluster
  readonly nodes: ReadonlyMap<Node, EngineNode<L>>
  readonly clock: Clock
}

interface Answered<L extends Lease> extends NodeLease<L> {
  readonly seen: Observation
}

/**
 * The freshest of `size` nodes that answered. Throws a `Reroute` when fewer answer in time, when they are not all of the
 * cluster's present history (positions of different ones cannot be compared), or when the freshest has not applied the fence. In a
 * leaderless cluster, when nobody has all that was acknowledged.
 */
export async function gatherFreshest<L extends Lease>(
  step: Gather,
  fence: Fence,
  context: GatherContext<L>,
  signal: AbortSignal | undefined,
): Promise<NodeLease<L>> {
  const answers = await ask(step, context, signal)
  publish('tidemark:quorum', () => ({ db: context.cluster.name, size: answers.length }))
  const best = context.cluster.logs === undefined ? freshest(answers, fence, context.cluster) : freshestOf(answers, fence, step)
  for (const answer of answers) if (answer !== best) answer.lease.release()
  if (best === undefined) throw new Reroute('not-caught-up')
  return best
}

/** Asks as many nodes as are needed, and the next one for each that fails. What comes too late is given back. */
function ask<L extends Lease>(
  { candidates, size, timeoutMs }: Gather,
  context: GatherContext<L>,
  signal: AbortSignal | undefined,
): Promise<Answered<L>[]> {
  return new Promise((resolve, reject) => {
    const rest = [...candidates]
    const answers: Answered<L>[] = []
    let asking = 0
    let over = false
    let lastError: unknown
    let timer: Timer | undefined
    const fail = (error: unknown) => {
      if (over) return
      end()
      for (const { lease } of answers) lease.release()
      reject(error)
    }
    const abort = () => fail(signal?.reason)
    const end = () => {
      over = true
      timer?.cancel()
      signal?.removeEventListener('abort', abort)
    }
    const askNext = () => {
      const node = rest.shift()
      if (node === undefined) {
        if (asking === 0) fail(new Reroute('unreachable', lastError))
        return
      }
      asking++
      askOne(node, timeoutMs, context, signal)
        .finally(() => asking--)
        .then(
          answer => {
            if (over) return answer.lease.release()
            answers.push(answer)
            if (answers.length < size) return
            end()
            resolve(answers)
          },
          error => {
            lastError = error
            if (!over) askNext()
          },
        )
    }
    timer = context.clock.setTimer(() => fail(new Reroute('time-out', lastError)), timeoutMs, { keepAlive: true })
    signal?.addEventListener('abort', abort, { once: true })
    for (let i = 0; i < size; i++) askNext()
  })
}

async function askOne<L extends Lease>(
  node: Node,
  timeoutMs: number,
  { cluster, nodes, clock }: GatherContext<L>,
  signal: AbortSignal | undefined,
): Promise<Answered<L>> {
  const target = nodes.get(node)!
  const lease = target.take() ?? (await target.acquired(undefined, signal))
  // One that accepts and never answers must not keep the connection.
  const cut = clock.setTimer(() => target.cut(lease), timeoutMs, { keepAlive: true })
  try {
    const seen = await target.locate(lease)
    cluster.observe(node, seen)
    const says = seen.peer !== undefined || (seen.epoch !== undefined && seen.applied !== undefined)
    // Not said is not caught up; and an old primary that came back is no member.
    if (!says || !node.usable) throw new Error(`${node.id} cannot say where it is`)
    return { node, lease, seen }
  } catch (error) {
    lease.release(true)
    throw error
  } finally {
    cut.cancel()
  }
}

function freshest<L extends Lease>(answers: readonly Answered<L>[], fence: Fence, cluster: Cluster): Answered<L> | undefined {
  let best: Answered<L> | undefined
  for (const answer of answers) {
    const { system, epoch, applied } = answer.seen
    if (epoch === undefined || applied === undefined || lineageOf(system, epoch) !== cluster.lineage) return undefined
    // Among equals a replica, to spare the primary.
    const isFresher = best?.seen.applied === undefined || applied > best.seen.applied
    if (isFresher || (applied === best?.seen.applied && best.node === cluster.primary)) best = answer
  }
  if (best === undefined || fence.kind !== 'at') return best
  return hadApplied(best.seen, fence.lineage, fence.offset) ? best : undefined
}

function freshestOf<L extends Lease>(answers: readonly Answered<L>[], fence: Fence, step: Gather): Answered<L> | undefined {
  const vectors = answers.map(answer => ({ answer, applied: answer.seen.peer?.applied ?? Position.zero }))
  return freshestPeer(vectors, fence, Math.min(step.sharedBy, answers.length))?.answer
}
