/**
 * What a router knows of the logs of a leaderless cluster, where every peer takes writes into a log of its own, stamped by its
 * hybrid logical clock (`hlc.ts`), and applies the others' logs as they come in. Where a node is, is a vector: for each log,
 * up to where its readers see it.
 *
 * **What a peer must keep.** It applies each log in its order, so having applied a stamp means having applied all before it. A
 * write is acknowledged when its own readers see it. And a log that loses its end (its server comes back from an older
 * copy) is never written again: the peer begins another, `<cluster>/<log>/<generation>` with the next generation, which is another
 * lineage. So the writer of a log has all of it, whatever this router has heard; and of a log that nobody writes any more the
 * end may be lost, or may be with whoever had applied it before.
 *
 * **Verdicts** (rule 4). An offset that some peer has, or that is in a log which is still written, is not lost. Otherwise it may be with
 * a peer that cannot be asked: unknown, and the fence stays, which nobody opens. Only when everybody has been heard is it possibly
 * lost, or of a log that nobody ever had: foreign. Nothing is ever translated from one log to another.
 */
import type { Verdict } from './ancestry.js'
import { isLater, type Observation, parseLineage } from './engine.js'
import type { Node } from './node.js'
import { Position } from './position.js'
import { PrimaryLog } from './primary-log.js'

/** A log that some peer writes. */
interface WrittenLog {
  /** Where its end was when. */
  readonly ends: PrimaryLog
  /** About how long a write takes from there to be visible on a peer. */
  readonly lagMs: WeakMap<Node, number>
}

/** Why a peer is not used, and the other of two that contradict each other. */
export interface PeerProblem {
  readonly reason: string
  readonly rival?: Node
}

export class Logs {
  /** The cluster's own list. */
  readonly #nodes: readonly Node[]
  readonly #written = new Map<string, WrittenLog>()
  /** The join of all that peers are known to have: nothing known of is beyond it. */
  #known = Position.zero

  constructor(nodes: readonly Node[]) {
    this.#nodes = nodes
  }

  /** The peer that writes this log, also while it cannot be asked. */
  writerOf(lineage: string): Node | undefined {
    return this.#nodes.find(node => node.peer?.log === lineage)
  }

  /** Whether some usable peer takes writes. */
  get writable(): boolean {
    return this.#nodes.some(node => node.usable && node.peer?.log !== undefined)
  }

  /** Takes in what a node said; `undefined` when it may be used. `previousAt`: when it was asked the time before. */
  observe(node: Node, seen: Observation, sameLife: boolean, previousAt: number): PeerProblem | undefined {
    const before = sameLife ? node.peer : undefined
    if (seen.role !== 'peer') {
      node.peer = undefined
      this.#review()
      return { reason: `is a ${seen.role}, and this cluster is leaderless: it is not one of its peers. Check its address` }
    }
    if (seen.peer === undefined || node.balanced) {
      // Unknown is "not caught up". What was proven of this same life stays proven, since positions only grow.
      node.peer = node.balanced ? undefined : before
      this.#review()
      return undefined
    }
    const { log, applied } = seen.peer
    const outdated = log !== undefined && this.#isOutdated(log)
    const kept = before !== undefined && before.log === log ? before.applied.join(applied) : applied
    node.peer = { log: outdated ? undefined : log, applied: kept }
    this.#review()
    if (outdated)
      return { reason: `writes ${log}, and there is a later generation of that log: it is an old copy. Rejoin it as a new one` }
    if (before !== undefined) this.#learnLag(node, before.applied, previousAt, seen.sentAt)
    if (log === undefined) return undefined
    this.#written.get(log)!.ends.record(seen.sentAt, kept.offsetIn(log) ?? 0n)
    const rival = this.#nodes.find(
      other => other !== node && other.reachable && other.peer?.log === log && other.incarnation !== node.incarnation,
    )
    if (rival === undefined) return undefined
    const reason = `two peers write one log: ${node.id} and ${rival.id} both write ${log}. Nothing tells which is right, so neither is used. Stop one and rejoin it as a new one`
    return { reason, rival }
  }

  /** A node has left, and with it all that it had. */
  forget(node: Node): void {
    node.peer = undefined
    this.#review()
  }

  /** The writer of the log was at `offset` after a question sent at `sentAt`: a captured commit, for instance. */
  record(lineage: string, offset: bigint, sentAt: number): void {
    const writer = this.writerOf(lineage)
    if (writer?.peer === undefined) return
    writer.peer = { log: lineage, applied: writer.peer.applied.join(Position.at(lineage, offset)) }
    this.#known = this.#known.join(writer.peer.applied)
    this.#written.get(lineage)?.ends.record(sentAt, offset)
  }

  verdict(lineage: string, offset: bigint): Verdict {
    if (this.#nodes.some(node => node.hasApplied(lineage, offset))) return 'preserved'
    if (!this.#nodes.every(node => node.reachable && node.peer !== undefined)) return 'unknown'
    const name = nameOf(lineage)
    const logs = [...this.#written.keys(), ...this.#known.entries.map(entry => entry.lineage)]
    return logs.some(each => nameOf(each) === name) ? 'possibly-lost' : 'foreign'
  }

  /**
   * All that any peer has, in two parts: of the logs that are written, and of those that are not any more. `undefined` unless every
   * node has answered a question sent at `since` or later, and may be used.
   */
  heardSince(since: number): { readonly written: Position; readonly closed: Position } | undefined {
    const heard = ({ usable, peer, observedAt }: Node) => usable && peer !== undefined && observedAt >= since
    if (!this.#nodes.every(heard)) return undefined
    const written = Position.of(this.#known.entries.filter(({ lineage }) => this.#written.has(lineage)))
    return { written, closed: this.#known.without(written) }
  }

  /** What every peer has applied (rule 6); unknown is not applied, so one that cannot be asked keeps everything. */
  appliedByAll(): Position | undefined {
    const applied = this.#nodes.flatMap(({ usable, peer }) => (usable && peer !== undefined ? [peer.applied] : []))
    return applied.length < this.#nodes.length ? undefined : Position.sharedBy(applied.length, applied)
  }

  isBehind(node: Node): boolean {
    return node.peer?.applied.includes(this.#known) !== true
  }

  /** At most how long ago everybody's own log ended where `node` is now; `undefined` when not known. */
  stalenessMs(node: Node, now: number): number | undefined {
    const own = node.peer
    // One that has not been heard of may have written for as long as it likes.
    if (own === undefined || this.#nodes.some(({ peer }) => peer === undefined)) return undefined
    let at = now
    for (const { lineage, offset } of this.#known.entries) {
      if (lineage === own.log) continue
      const mine = own.applied.offsetIn(lineage) ?? 0n
      const log = this.#written.get(lineage)
      if (log === undefined && mine >= offset) continue
      const time = log?.ends.lastTimeAtOrBefore(mine)
      if (time === undefined) return undefined
      at = Math.min(at, time)
    }
    return now - at
  }

  /** As {@link Cluster.expectedWaitMs}. Of a log that nobody writes any more, what somebody has may come from there at any time. */
  expectedWaitMs(node: Node, lineage: string, offset: bigint, now: number): number {
    if (node.hasApplied(lineage, offset)) return 0
    const log = this.#written.get(lineage)
    if (node.peer === undefined) return Number.POSITIVE_INFINITY
    if (log === undefined) return this.#nodes.some(each => each.hasApplied(lineage, offset)) ? 0 : Number.POSITIVE_INFINITY
    const writtenAt = log.ends.firstTimeAfter(offset - 1n) ?? now
    return Math.max(0, writtenAt + (log.lagMs.get(node) ?? 0) - now)
  }

  /** Rule 8 of a log: whoever writes an earlier generation of one that has a later one is an old copy that came back. */
  #isOutdated(log: string): boolean {
    const isPast = (other: string | undefined) => other !== undefined && isLater(other, log)
    return this.#known.entries.some(({ lineage }) => isPast(lineage)) || this.#nodes.some(({ peer }) => isPast(peer?.log))
  }

  /** What is known together, after something has changed: all that is kept is of the nodes there are. */
  #review(): void {
    let known = Position.zero
    const written = new Set<string>()
    for (const { peer } of this.#nodes) {
      if (peer === undefined) continue
      known = known.join(peer.applied)
      if (peer.log !== undefined) written.add(peer.log)
    }
    this.#known = known
    for (const lineage of this.#written.keys()) if (!written.has(lineage)) this.#written.delete(lineage)
    for (const lineage of written) {
      if (!this.#written.has(lineage)) this.#written.set(lineage, { ends: new PrimaryLog(), lagMs: new WeakMap() })
    }
  }

  #learnLag(node: Node, before: Position, previousAt: number, sentAt: number): void {
    let most = 0
    for (const [lineage, { ends, lagMs }] of this.#written) {
      if (lineage === node.peer!.log) continue
      const [then, now] = [before, node.peer!.applied].map(position => position.offsetIn(lineage) ?? 0n)
      const lag = ends.lagMs({ at: previousAt, applied: then! }, { at: sentAt, applied: now! }, lagMs.get(node) ?? 0)
      lagMs.set(node, lag)
      most = Math.max(most, lag)
    }
    node.lagMs = most
  }
}

/** What is the same for all generations of a log. */
function nameOf(lineage: string): string {
  return parseLineage(lineage)?.system ?? lineage
}
