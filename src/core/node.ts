import type { PeerState, Role } from './engine.js'

/** What is configured of a node. */
export interface NodeConfig {
  /** Unique within the cluster; shown in outcomes, events and messages. Never contains a password. */
  readonly id: string
  readonly region?: string | undefined
  /** Relative share of reads among nodes that are otherwise equal. Greater than 0. Default 1. */
  readonly weight?: number | undefined
  /** The address hides several servers (a balancer, a reader endpoint): what one answered proves nothing of the next. */
  readonly balanced?: boolean | undefined
}

/** Why a node is not used, in words for an operator. */
export interface NodeProblem {
  readonly reason: string
  readonly cause?: unknown
}

/** The weight of the newest sample in moving averages. */
const SMOOTHING = 0.2

/** A kind of reads that have proved short; the same object for each of the kind. */
export interface QuickKind {
  /** What they have been taking, in milliseconds. */
  readonly tookMs: number
}

/**
 * The router's picture of one node. Only {@link Cluster} changes what it says about role and position; executors
 * count requests in flight and report latency.
 */
export class Node {
  readonly kind = 'node'
  readonly id: string
  readonly region: string | undefined
  readonly weight: number
  readonly balanced: boolean

  role: Role | undefined
  /** Answered the last time it was asked. */
  reachable = false
  /** May serve at all: answered last time, belongs to the cluster, is not an outdated primary. */
  usable = false
  problem: NodeProblem | undefined = { reason: 'not heard of yet' }
  incarnation: string | undefined
  /** The history that `applied` belongs to; `undefined`: not known, so never caught up. */
  lineage: string | undefined
  applied: bigint | undefined
  /** Of a peer: the log that it writes, and up to where it has applied each; `undefined`: not known, so never caught up. */
  peer: PeerState | undefined
  /** When the newest observation was sent, on the router's clock. */
  observedAt = Number.NEGATIVE_INFINITY
  /** When the observation was sent that last found `applied` further on. */
  advancedAt = Number.NEGATIVE_INFINITY

  /** Recent replication delay: about how long a write takes to be visible here. */
  lagMs = 0
  /** Bytes (or units of the engine's log) replayed per millisecond while behind; `undefined` until measured. */
  replayRate: number | undefined

  /** Statements sent by this router and not answered yet. */
  inFlight = 0
  /** Reads of this kind are about to be sent there together, and there is room for one more. */
  gathers: QuickKind | undefined
  /** Moving average of the probe's round trip; Infinity until measured. */
  latencyMs = Number.POSITIVE_INFINITY

  constructor(config: NodeConfig) {
    this.id = config.id
    this.region = config.region
    this.weight = config.weight ?? 1
    this.balanced = config.balanced ?? false
  }

  /** Rule 1: a node that has applied `offset` of `lineage`, as far as is *proven*. */
  hasApplied(lineage: string, offset: bigint): boolean {
    if (this.lineage === lineage) return this.applied !== undefined && this.applied >= offset
    // The writer of a log has all of it, whatever has been heard of it so far.
    return this.peer !== undefined && (this.peer.log === lineage || (this.peer.applied.offsetIn(lineage) ?? -1n) >= offset)
  }

  /** Whether it is one of those that reads are spread over: it applies what others write. */
  get follows(): boolean {
    return this.role === 'replica' || this.role === 'peer'
  }

  noteLatency(sampleMs: number): void {
    this.latencyMs = this.latencyMs === Number.POSITIVE_INFINITY ? sampleMs : smooth(this.latencyMs, sampleMs)
  }

  noteReplayRate(sample: number): void {
    this.replayRate = this.replayRate === undefined ? sample : smooth(this.replayRate, sample)
  }
}

function smooth(average: number, sample: number): number {
  return average + SMOOTHING * (sample - average)
}
