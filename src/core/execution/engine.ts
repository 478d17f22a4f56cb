/**
 * What an engine gives. The core owns the order of events that makes reads and writes safe (`reads.ts`, `writes.ts`); an
 * engine opens connections, asks the servers behind them where they are, and sends.
 */
import type { Cluster, ClusterOptions } from '../cluster.js'
import type { Observation } from '../engine.js'
import type { RerouteReason } from '../events.js'
import type { Node, NodeConfig, QuickKind } from '../node.js'

/** A node as a database is configured with it. An engine adds how to reach it. */
export interface NodeSpec extends NodeConfig {
  /** Where the configuration says that the primary is: asked for a connection while no primary is known. Default false. */
  readonly declaredPrimary?: boolean
}

/**
 * The use of one connection to one server. The server was asked who it is and where it is when the connection was opened, before
 * its first use, and the answer was given to `cluster.observe` (rule 1).
 */
export interface Lease {
  /** The incarnation (see `Observation`) of the server that the connection was opened to. */
  readonly incarnation: string
  /** The lineage that the server writes, when it is a primary or a peer; it stays so for the life of the connection. */
  readonly writes: string | undefined
  /** Once. With `discard` the connection is closed instead of reused. Default false. */
  release(discard?: boolean): void
}

/** One node of a cluster: its connections, and the monitor's way to it. */
export interface EngineNode<L extends Lease = Lease> {
  readonly spec: NodeSpec
  readonly node: Node
  /**
   * A connection that is at hand, at once. It must be of the node's present incarnation and role, as `node` has them.
   * `quick`: it is for one read of that kind, so it may be shared with others.
   */
  take(quick?: QuickKind): L | undefined
  /** A connection, new ones checked. Rejects within the engine's own deadline, or with the signal's reason when that aborts. */
  acquired(quick?: QuickKind, signal?: AbortSignal): Promise<L>
  /** Asks where the node is, on a way of its own. Settles within `timeoutMs`; any failure means "cannot be asked". */
  probe(timeoutMs: number): Promise<Observation>
  /** Asks the very server that `lease` leads to, behind whatever was sent there before. */
  locate(lease: L): Promise<Observation>
  /** Cuts the connection: what runs on it fails at once. The lease is still to be released. */
  cut(lease: L): void
  /** Closes what the engine owns of it. What runs may end, within a bound; then it is cut. Nothing can be acquired any more. Idempotent. */
  close(): Promise<void>
}

/** An older history (see `Observation.epoch`) that a node's present one goes through. */
export interface OlderEpoch {
  readonly epoch: number
  /** The present history includes everything of it up to and including this offset. */
  readonly includedUpTo: bigint
  /** Whether it was left exactly there, or there at the earliest. */
  readonly exact: boolean
}

/** A kind of database. */
export interface Engine<S extends NodeSpec = NodeSpec, N extends EngineNode = EngineNode> {
  /** `leaderless`: every node is a `peer` and takes writes into a log of its own. Default `primary`. */
  readonly topology?: ClusterOptions['topology']
  /** Makes what leads to one node; opens nothing yet. `cluster.node(spec.id)` is the node. */
  connect(spec: S, cluster: Cluster): N
  /** Why a *read* that failed with this error may be tried on another node; `undefined`: the error is the answer. */
  rerouteReasonOf(error: unknown, onReplica: boolean): RerouteReason | undefined
  /**
   * A node's record of all the histories that came before `epoch`, for failover verdicts (rule 4). `undefined` when it cannot be read
   * within `timeoutMs`. Never rejects. Left out: what this router did not see itself is not known, and counts as possibly lost.
   */
  history?(node: N, epoch: number, timeoutMs: number): Promise<readonly OlderEpoch[] | undefined>
}
