/** What an error says about the node that it came from, and about the read that failed with it. */
import type { Cluster } from '../cluster.js'
import type { Monitor } from '../monitor.js'
import type { Node } from '../node.js'
import { Reroute } from '../router.js'
import type { Engine } from './engine.js'

export interface NodeErrorsContext {
  readonly engine: Pick<Engine, 'rerouteReasonOf'>
  readonly cluster: Cluster
  readonly monitor: Monitor
}

/** One broken connection is not a lost node; one that cannot be opened (`connecting`) is. */
export function noteError(
  error: unknown,
  node: Node,
  connecting: boolean,
  { engine, cluster, monitor }: NodeErrorsContext,
): void {
  if (engine.rerouteReasonOf(error, false) !== 'unreachable') return
  if (connecting) cluster.lose(node, { reason: error instanceof Error ? error.message : String(error), cause: error })
  monitor.nudge()
}

/** The reroute that an error stands for, or the error itself. */
export function rerouted(error: unknown, node: Node, connecting: boolean, context: NodeErrorsContext): unknown {
  if (error instanceof Reroute) return error
  noteError(error, node, connecting, context)
  const reason = context.engine.rerouteReasonOf(error, node.follows)
  if (reason !== undefined) return new Reroute(reason, error)
  // Whatever kept a connection from being had, another node may do better.
  return connecting ? new Reroute('unreachable', error) : error
}
