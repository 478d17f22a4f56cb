/**
 * Connections to the primary (rule 8): the node that the cluster takes for it, and a server that writes its history. Of a leaderless
 * cluster: to a peer that takes writes.
 */
import { type Fence, NO_FENCE, opens, withoutLost } from '../fence.js'
import type { Node } from '../node.js'
import { pickWriter } from '../pick-writer.js'
import type { Session } from '../session.js'
import { untilAborted } from '../until-aborted.js'
import type { EngineNode, Lease } from './engine.js'
import type { ExecutionContext, NodeLease } from './execution-context.js'
import { NoPrimaryError } from './no-primary-error.js'
import { noteError } from './node-errors.js'

/** How often a connection may find itself elsewhere than at the primary. */
const MAX_TRIES = 3

export class PrimaryAccess<L extends Lease, N extends EngineNode<L>> {
  readonly #context: ExecutionContext<L, N>

  constructor(context: ExecutionContext<L, N>) {
    this.#context = context
  }

  /** A connection that is at hand. `fence`: see {@link pickWriter}. */
  take(fence: Fence = NO_FENCE): NodeLease<L> | undefined {
    const node = pickWriter(this.#context.cluster, fence)
    const lease = node && this.#context.nodes.get(node)!.take()
    if (node === undefined || lease === undefined) return undefined
    if (this.#writesHere(lease, node, fence)) return { lease, node }
    lease.release()
    return undefined
  }

  /** A connection, for a session if there is one. Rejects with the driver's error, or {@link NoPrimaryError}. */
  async acquire(signal?: AbortSignal, session?: Session, fence: Fence = NO_FENCE): Promise<NodeLease<L>> {
    const { cluster, nodes, monitor, judge } = this.#context
    const hearing = session === undefined ? undefined : judge.hear(session)
    if (hearing !== undefined) await untilAborted(hearing, signal)
    // Nothing has been sent yet, so looking again when a connection finds itself elsewhere repeats no write.
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const atHand = this.take(fence)
      if (atHand !== undefined) return atHand
      const node = pickWriter(cluster, fence) ?? this.#declared()
      if (node === undefined) break
      const lease = await nodes
        .get(node)!
        .acquired(undefined, signal)
        .catch(error => {
          if (!signal?.aborted) noteError(error, node, true, this.#context)
          throw error
        })
      if (this.#writesHere(lease, node, fence)) return { lease, node }
      lease.release()
    }
    monitor.nudge()
    throw new NoPrimaryError(cluster.nodes)
  }

  /** The picture may have changed while the connection was waited for, and the server's role while it was kept. */
  #writesHere(lease: L, node: Node, fence: Fence): boolean {
    const { cluster } = this.#context
    if (cluster.logs !== undefined) {
      const isSame = node.usable && lease.incarnation === node.incarnation && lease.writes === node.peer?.log
      return isSame && lease.writes !== undefined && opens(withoutLost(fence), node)
    }
    return node === cluster.primary && lease.writes !== undefined && lease.writes === cluster.lineage
  }

  #declared(): Node | undefined {
    if (this.#context.cluster.logs !== undefined) return undefined
    for (const [node, { spec }] of this.#context.nodes) if (spec.declaredPrimary && node.role !== 'replica') return node
    return undefined
  }
}
