import type { Clock } from '../../core/clock.js'
import type { RerouteReason } from '../../core/events.js'
import type { Engine } from '../../core/execution/engine.js'
import { ConnectionLostError, PoolTimeoutError, ServerError } from './protocol.js'
import type { ServerCluster } from './server-cluster.js'
import type { ServerProcess } from './server-process.js'
import { SimulatedNode, type SimulatedNodeSpec } from './simulated-node.js'

export interface SimulatedEngineOptions {
  /** The process that this is: where its messages come from. */
  readonly from: string
  readonly clock: Clock
  /** Connections to each node. Default 10. */
  readonly maxConnections?: number
  /** A connection is waited for at most this long. Default 2 000. */
  readonly connectTimeoutMs?: number
  /** A statement is cut when it takes longer. Default 5 000. */
  readonly statementTimeoutMs?: number
  /** Whether the servers let it read the record of earlier timelines. Default true. */
  readonly readsHistory?: boolean
}

export const SIMULATED_ENGINE_DEFAULTS = Object.freeze({
  maxConnections: 10,
  connectTimeoutMs: 2_000,
  statementTimeoutMs: 5_000,
  readsHistory: true,
})

/** Simulated servers, as the core's database uses them. An epoch is a timeline. */
export function simulatedEngine(
  cluster: ServerCluster<ServerProcess>,
  options: SimulatedEngineOptions,
): Engine<SimulatedNodeSpec, SimulatedNode> {
  const { from, clock, maxConnections, connectTimeoutMs, statementTimeoutMs, readsHistory } = {
    ...SIMULATED_ENGINE_DEFAULTS,
    ...options,
  }
  const open = (address: string) => cluster.connect(from, address)
  return {
    topology: cluster.topology,
    connect: (spec, picture) =>
      new SimulatedNode(spec, picture, { clock, maxConnections, connectTimeoutMs, statementTimeoutMs, open }),
    rerouteReasonOf,
    history: async (node, epoch, timeoutMs) => (readsHistory ? node.history(epoch, timeoutMs) : undefined),
  }
}

function rerouteReasonOf(error: unknown, onReplica: boolean): RerouteReason | undefined {
  if (error instanceof ConnectionLostError) return 'unreachable'
  if (error instanceof PoolTimeoutError) return 'busy'
  if (error instanceof ServerError && error.code === 'read-only' && onReplica) return 'needs-primary'
  return undefined
}
