/**
 * What an engine tells the core. The core never talks to a database: an engine asks nodes where they are
 * ({@link Observation}) and runs statements on the nodes that the router names.
 */

import type { Position } from './position.js'

/** A `peer` takes writes into a log of its own and applies the logs of the others: a cluster of peers has no primary. */
export type Role = 'primary' | 'replica' | 'peer'

/** Where a peer is. */
export interface PeerState {
  /**
   * The lineage of the log that it writes, `<cluster>/<log>/<generation>`; `undefined` for one that only follows. A peer whose log
   * may have lost its end must begin the next generation, and another incarnation, before it takes a write.
   */
  readonly log: string | undefined
  /** For each log, up to where its readers see it, its own included. A log of which it has nothing need not be there. */
  readonly applied: Position
}

/** What one node said about itself, once. */
export interface Observation {
  /** On the router's monotonic clock, just before the question was sent. Nothing said can be older than this. */
  readonly sentAt: number
  /** On the same clock, when the answer was complete. */
  readonly receivedAt: number
  readonly role: Role
  /** The replicated system: nodes of different systems never share history. */
  readonly system: string
  /**
   * Orders the histories of one system: a promotion begins a higher one (PostgreSQL: the timeline). `undefined` when
   * the node could not or would not say: its position is then of no use as a proof.
   */
  readonly epoch: number | undefined
  /**
   * Identifies one unbroken life of the node. A restart, rebuild or promotion gives another value. Within one
   * incarnation the applied position only grows, which is what makes a remembered observation a safe lower bound.
   */
  readonly incarnation: string
  /** The applied position within `system` and `epoch`: what readers of this node can see. `undefined`: not known. */
  readonly applied: bigint | undefined
  /** Of a peer, instead of `epoch` and `applied`; `undefined` when it could not or would not say. */
  readonly peer?: PeerState | undefined
}

/** The lineage (see `position.ts`) of an epoch of a system. */
export function lineageOf(system: string, epoch: number): string {
  return `${system}/${epoch}`
}

/** The parts of a lineage; `undefined` when it was not made by {@link lineageOf}. */
export function parseLineage(lineage: string): { readonly system: string; readonly epoch: number } | undefined {
  const slash = lineage.lastIndexOf('/')
  const epoch = Number(lineage.slice(slash + 1))
  return slash < 0 || !Number.isSafeInteger(epoch) ? undefined : { system: lineage.slice(0, slash), epoch }
}

/** Whether `lineage` is a later history of the same system than `than`. */
export function isLater(lineage: string, than: string | undefined): boolean {
  // Most are of another log, or the same, and this is asked of all of them with every answer: that is seen without taking them apart.
  if (than === undefined || lineage === than || !lineage.startsWith(than.slice(0, than.lastIndexOf('/') + 1))) return false
  const a = parseLineage(lineage)
  const b = parseLineage(than)
  return a !== undefined && b !== undefined && a.system === b.system && a.epoch > b.epoch
}

/** Rule 1, of one answer: whether the node that gave it had applied `offset` of `lineage` then. */
export function hadApplied({ system, epoch, applied, peer }: Observation, lineage: string, offset: bigint): boolean {
  if (peer !== undefined) return peer.log === lineage || (peer.applied.offsetIn(lineage) ?? -1n) >= offset
  return epoch !== undefined && applied !== undefined && lineageOf(system, epoch) === lineage && applied >= offset
}

/** Asks one node where it is. Must settle within `timeoutMs`; any failure means "cannot be asked", never "fine". */
export type Probe = (nodeId: string, timeoutMs: number) => Promise<Observation>
