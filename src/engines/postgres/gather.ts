/**
 * The read side of a quorum: asks several nodes where they are, each on a connection of its own, and leaves the caller with
 * the connection to the freshest. The read is then sent on that very connection, so it goes to the server that was asked.
 */
import type { Clock, Timer } from '../../core/clock.js'
import type { Cluster } from '../../core/cluster.js'
import { lineageOf, type Observation } from '../../core/engine.js'
import type { Fence } from '../../core/fence.js'
import type { Gather } from '../../core/ladder.js'
import type { Node } from '../../core/node.js'
import { Reroute } from '../../core/router.js'
import type { Lease } from './connections.js'
import { send } from './driver.js'
import { observationOf, POSITION_QUERY, type PositionRow } from './position-query.js'
import type { PostgresNode } from './postgres-node.js'

export interface GatherContext {
  readonly cluster: Cluster
  readonly nodes: ReadonlyMap<Node, PostgresNode>
  readonly clock: Clock
  readonly signal: AbortSignal | undefined
}

export interface Freshest {
  readonly node: Node
  readonly lease: Lease
}

interface Answered extends Freshest {
  readonly seen: Observation & { readonly epoch: number; readonly applied: bigint }
}

/**
 * The freshest of `size` nodes that answered. Throws a `Reroute` when fewer answer in time, when they are not all of the
 * cluster's present history (positions of different ones cannot be compared), or when the freshest has not applied the fence.
 */
export async function gatherFreshest(step: Gather, fence: Fence, context: GatherContext): Promise<Freshest> {
  const answers = await ask(step, context)
  const best = freshest(answers, fence, context.cluster)
  for (const answer of answers) if (answer !== best) answer.lease.release()
  if (best === undefined) throw new Reroute('not-caught-up')
  return best
}

/** Asks as many nodes as are needed, and the next one for each that fails. What comes too late is given back. */
function ask({ candidates, size, timeoutMs }: Gather, context: GatherContext): Promise<Answered[]> {
  return new Promise((resolve, reject) => {
    const rest = [...candidates]
    const answers: Answered[] = []
    let asking = 0
    let over = false
    let lastError: unknown
    let timer: Timer | undefined
    const fail = (error: unknown) => {
      if (over) return
      over = true
      timer?.cancel()
      for (const { lease } of answers) lease.release()
      reject(error)
    }
    const askNext = () => {
      const node = rest.shift()
      if (node === undefined) {
        if (asking === 0) fail(new Reroute('unreachable', lastError))
        return
      }
      asking++
      askOne(node, context)
        .finally(() => asking--)
        .then(
          answer => {
            if (over) return answer.lease.release()
            answers.push(answer)
            if (answers.length < size) return
            over = true
            timer?.cancel()
            resolve(answers)
          },
          error => {
            lastError = error
            if (context.signal?.aborted) fail(context.signal.reason)
            else if (!over) askNext()
          },
        )
    }
    timer = context.clock.setTimer(() => fail(new Reroute('time-out', lastError)), timeoutMs, { keepAlive: true })
    for (let i = 0; i < size; i++) askNext()
  })
}

async function askOne(node: Node, { cluster, nodes, clock, signal }: GatherContext): Promise<Answered> {
  const target = nodes.get(node)!
  const lease = target.take(false) ?? (await target.acquired(false, signal))
  try {
    const sentAt = clock.now()
    const row = await new Promise<PositionRow>((resolve, reject) => {
      send(lease.connection, { ...POSITION_QUERY }, undefined, (error, result) =>
        error ? reject(error) : resolve(result.rows[0] as PositionRow),
      )
    })
    const seen = observationOf(row, lease.identity, sentAt, clock.now())
    cluster.observe(node, seen)
    const { epoch, applied } = seen
    // Not said is not caught up; and an old primary that came back is no member.
    if (epoch === undefined || applied === undefined || !node.usable) throw new Error(`${node.id} cannot say where it is`)
    return { node, lease, seen: { ...seen, epoch, applied } }
  } catch (error) {
    lease.release(true)
    throw error
  }
}

function freshest(answers: readonly Answered[], fence: Fence, cluster: Cluster): Answered | undefined {
  let best: Answered | undefined
  for (const answer of answers) {
    const { system, epoch, applied } = answer.seen
    if (lineageOf(system, epoch) !== cluster.lineage) return undefined
    // Among equals a replica, to spare the primary.
    const isFresher = best === undefined || applied > best.seen.applied
    if (isFresher || (applied === best?.seen.applied && best.node === cluster.primary)) best = answer
  }
  if (best === undefined || fence.kind !== 'at') return best
  return fence.lineage === cluster.lineage && best.seen.applied >= fence.offset ? best : undefined
}
