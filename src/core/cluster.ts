/**
 * The router's picture of the cluster: nodes, who is the primary, where everybody is. It changes only by observations
 * (`observe`), failures to observe (`lose`) and captured commits (`primaryAt`); everything else reads it.
 *
 * Rule 8, primary means primary: the primary is the node out of recovery with the highest epoch ever seen of this
 * system. A node out of recovery with a lower one is an old primary that came back: it is refused, for writes and for
 * reads. Two nodes out of recovery in the *same* epoch cannot both be right and nothing tells which is: neither is used.
 */
import { type Ancestor, Ancestry, type Verdict } from './ancestry.js'
import { lineageOf, type Observation } from './engine.js'
import { DEFAULT_NAME, publish } from './events.js'
import { Logs, type PeerProblem } from './logs.js'
import { Node, type NodeConfig, type NodeProblem } from './node.js'
import { PrimaryLog } from './primary-log.js'

export type Unsubscribe = () => void

export interface ClusterOptions {
  /** Tells clusters of one process apart, in events. Default {@link DEFAULT_NAME}. */
  readonly name?: string | undefined
  readonly region?: string | undefined
  /** `primary`: one log, which the primary writes and the others follow. `leaderless`: a log for each peer. Default `primary`. */
  readonly topology?: 'primary' | 'leaderless' | undefined
}

/** What was known of a node before an observation. */
interface Before {
  readonly at: number
  readonly applied: bigint | undefined
  readonly lineage: string | undefined
  readonly incarnation: string | undefined
}

export class Cluster {
  /** Tells clusters of one process apart, in events. */
  readonly name: string
  readonly #nodes: Node[]
  /** The region this router runs in; near nodes are preferred. */
  readonly region: string | undefined
  readonly log = new PrimaryLog()
  /** The logs of a leaderless cluster; `undefined` in one that has a primary. Of `primary`, `lineage` and `log` it is the other way round. */
  readonly logs: Logs | undefined

  /** The newest primary known, also while it cannot be reached (`usable` tells); `undefined` while two claim to be it. */
  primary: Node | undefined
  /** The history that the primary is writing. */
  lineage: string | undefined
  /** Who was the primary last, also after it has been seen to be none any more. */
  #lastPrimary: Node | undefined
  #ancestry: Ancestry | undefined
  #system: string | undefined
  #epoch = -1
  readonly #listeners = new Set<(node: Node) => void>()

  constructor(nodes: readonly NodeConfig[], options: ClusterOptions = {}) {
    this.name = options.name ?? DEFAULT_NAME
    this.#nodes = nodes.map(config => new Node(config))
    this.region = options.region
    this.logs = options.topology === 'leaderless' ? new Logs(this.#nodes) : undefined
  }

  get nodes(): readonly Node[] {
    return this.#nodes
  }

  /** A node joins: not heard of yet, so not used yet, but counted. */
  add(config: NodeConfig): Node {
    const node = new Node(config)
    this.#nodes.push(node)
    return node
  }

  /** A node leaves: from here on nothing is routed to it, and what it had applied counts for nothing. */
  remove(node: Node): void {
    const at = this.#nodes.indexOf(node)
    if (at >= 0) this.#nodes.splice(at, 1)
    if (this.primary === node) this.primary = undefined
    this.logs?.forget(node)
    this.#setProblem(node, { reason: 'was removed' })
    this.#changed(node)
  }

  get system(): string | undefined {
    return this.#system
  }

  node(id: string): Node {
    const found = this.nodes.find(node => node.id === id)
    if (found === undefined) throw new RangeError(`no node "${id}"; the nodes are ${this.nodes.map(n => n.id).join(', ')}`)
    return found
  }

  /** Called after every change of a node's position, role or health. */
  onChange(listener: (node: Node) => void): Unsubscribe {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Takes in what a node said. Late answers to old questions change nothing. */
  observe(node: Node, seen: Observation): void {
    // A node that has left may still answer what it was asked before.
    if (seen.sentAt < node.observedAt || !this.#nodes.includes(node)) return
    const before = { at: node.observedAt, applied: node.applied, lineage: node.lineage, incarnation: node.incarnation }
    node.observedAt = seen.sentAt
    node.reachable = true
    node.noteLatency(seen.receivedAt - seen.sentAt)

    this.#system ??= seen.system
    const lineage = seen.epoch === undefined ? undefined : lineageOf(seen.system, seen.epoch)
    const sameLife = before.incarnation === seen.incarnation && node.role === seen.role
    node.role = seen.role
    node.incarnation = seen.incarnation
    if (this.logs !== undefined) {
      this.#observePeer(this.logs, node, seen, sameLife, before.at)
      this.#changed(node)
      return
    }
    if (node.balanced) {
      // The next connection may reach another server: remember nothing.
      node.lineage = node.applied = undefined
    } else if (lineage === undefined || seen.applied === undefined) {
      // Unknown is "not caught up". What was proven of this same life stays proven, since positions only grow.
      if (!sameLife) node.lineage = node.applied = undefined
    } else if (sameLife && before.lineage === lineage && before.applied !== undefined && before.applied > seen.applied) {
      // Keep the higher lower bound.
    } else {
      node.lineage = lineage
      node.applied = seen.applied
    }

    if (this.primary === node && seen.role !== 'primary') this.primary = undefined
    const problem = this.#judge(node, seen)
    if (problem === undefined && node.role === 'primary') this.#seat(node, seen, before)
    this.#setProblem(node, problem)
    if (node.role === 'replica' && sameLife && before.lineage === node.lineage) this.#learnLag(node, before, seen)
    this.#changed(node)
  }

  /** The node could not be asked: it is not caught up and not used until it answers again. */
  lose(node: Node, problem: NodeProblem): void {
    if (!this.#nodes.includes(node)) return
    node.reachable = false
    this.#setProblem(node, problem)
    this.#changed(node)
  }

  /** The primary was at `offset` after a question sent at `sentAt`: a captured commit, for instance. */
  primaryAt(lineage: string, offset: bigint, sentAt: number): void {
    if (this.logs !== undefined) this.logs.record(lineage, offset, sentAt)
    else if (lineage === this.lineage) this.log.record(sentAt, offset)
  }

  /** What became of a position (rule 4). Before any primary was seen there is nothing to judge by. */
  verdict(lineage: string, offset: bigint): Verdict {
    if (this.logs !== undefined) return this.logs.verdict(lineage, offset)
    return this.#ancestry?.verdict(lineage, offset) ?? 'unknown'
  }

  /** Where the present history left an older one, as far as is known. */
  ancestor(lineage: string): Ancestor | undefined {
    return this.#ancestry?.ancestor(lineage)
  }

  /** Whether all histories before the present one are known exactly. */
  get ancestryComplete(): boolean {
    return this.#ancestry?.complete ?? false
  }

  /** What was read of the histories before `lineage`. Changes nothing when the cluster has moved on since. */
  learnAncestry(lineage: string, ancestors: readonly Ancestor[], complete: boolean): void {
    if (this.#ancestry?.lineage === lineage) this.#ancestry.learn(ancestors, complete)
  }

  /** At most how long ago the primary was where `node` is: 0 for the primary, `undefined` when not known. */
  stalenessMs(node: Node, now: number): number | undefined {
    if (node === this.primary) return 0
    if (this.logs !== undefined) return this.logs.stalenessMs(node, now)
    if (node.applied === undefined || node.lineage === undefined || node.lineage !== this.lineage) return undefined
    const at = this.log.lastTimeAtOrBefore(node.applied)
    return at === undefined ? undefined : now - at
  }

  /**
   * In about how many milliseconds `node` will have applied `offset`, judged from its measured delay and replay rate;
   * `Infinity` when it is on another history. A guess: it decides only whether waiting is worth it, never what is true.
   */
  expectedWaitMs(node: Node, lineage: string, offset: bigint, now: number): number {
    if (this.logs !== undefined) return this.logs.expectedWaitMs(node, lineage, offset, now)
    if (node.hasApplied(lineage, offset)) return 0
    if (node.lineage !== lineage || node.applied === undefined) return Number.POSITIVE_INFINITY
    const writtenAt = this.log.firstTimeAfter(offset - 1n) ?? now
    const byDelay = writtenAt + node.lagMs - now
    const byRate = node.replayRate === undefined ? 0 : Number(offset - node.applied) / node.replayRate
    return Math.max(0, byDelay, byRate)
  }

  /** Whether there is anywhere to write, as far as is known. */
  get writable(): boolean {
    return this.logs === undefined ? this.primary?.usable === true : this.logs.writable
  }

  /** Whether `node` has still to apply something that this router knows of. */
  isBehind(node: Node): boolean {
    if (this.logs !== undefined) return this.logs.isBehind(node)
    const { newest } = this.log
    return node.role === 'replica' && newest !== undefined && (node.applied === undefined || node.applied < newest)
  }

  #foreign(seen: Observation): NodeProblem | undefined {
    if (seen.system === this.#system) return undefined
    return {
      reason: `belongs to another system (${seen.system}) than the rest of the cluster (${this.#system}): it is not a replica of this primary. Check its address, or whether it was initialised anew.`,
    }
  }

  #judge(node: Node, seen: Observation): NodeProblem | undefined {
    const foreign = this.#foreign(seen)
    if (foreign !== undefined) return foreign
    if (seen.role === 'peer')
      return { reason: 'is a peer of a leaderless cluster, and this one has a primary. Check its address' }
    if (node.role !== 'primary' || node.balanced || seen.epoch === undefined) return undefined
    if (seen.epoch < this.#epoch) {
      return {
        reason: `is an old primary: it writes history ${seen.epoch}, the cluster is at ${this.#epoch}. Rejoin it as a standby before using it.`,
      }
    }
    const rival = this.nodes.find(
      // The same life is the same server, at two addresses: a mistake of the configuration, not a second primary.
      other =>
        other !== node &&
        other.reachable &&
        other.role === 'primary' &&
        other.lineage === node.lineage &&
        other.incarnation !== node.incarnation,
    )
    if (rival !== undefined && seen.epoch === this.#epoch) {
      const reason = `two primaries: ${node.id} and ${rival.id} both write history ${seen.epoch}. Nothing tells which is right, so neither is used. Stop one and rejoin it as a standby.`
      this.#setProblem(rival, { reason })
      this.primary = undefined
      return { reason }
    }
    return undefined
  }

  #seat(node: Node, seen: Observation, before: Before): void {
    // Without a position in this very answer, an older one must not be entered into the log as where the primary is now.
    if (seen.epoch === undefined || seen.applied === undefined || node.lineage === undefined || node.applied === undefined) return
    if (node.lineage !== this.lineage) {
      this.log.clear()
      this.#ancestry = this.#continued(node.lineage, seen, before)
    }
    const isNew = this.primary !== node
    const previous = this.#lastPrimary
    this.#lastPrimary = node
    this.#epoch = seen.epoch
    this.primary = node
    this.lineage = node.lineage
    this.log.record(seen.sentAt, node.applied)
    for (const other of this.nodes) {
      if (other !== node && other.role === 'primary' && other.usable) {
        this.#setProblem(other, { reason: `is an old primary: ${node.id} was promoted. Rejoin it as a standby before using it.` })
      }
    }
    if (isNew) {
      const lineage = node.lineage
      publish('tidemark:primary', () => ({ db: this.name, node: node.id, previous: previous?.id, lineage }))
    }
  }

  /** The new history, with what this router itself saw of the promotion: the node as it was before, in the same life. */
  #continued(lineage: string, seen: Observation, before: Before): Ancestry {
    const known = this.#ancestry
    const witnessed = known !== undefined && before.lineage === known.lineage && before.incarnation === seen.incarnation
    if (!witnessed || before.applied === undefined) return new Ancestry(lineage)
    return known.continuedBy(lineage, before.applied)
  }

  #learnLag(node: Node, before: Before, seen: Observation): void {
    if (node.lineage !== this.lineage || node.applied === undefined || before.applied === undefined) return
    const now = { at: seen.sentAt, applied: node.applied }
    node.lagMs = this.log.lagMs({ at: before.at, applied: before.applied }, now, node.lagMs)
    const waitingSince = this.log.firstTimeAfter(node.applied)
    if (node.applied > before.applied) {
      // Counted from the last advance, not from the last question: between two quick questions there is often none, and a
      // rate of 0 would say "never". Of a replica that has stopped, the growing delay tells.
      const busySince = Math.max(node.advancedAt, this.log.firstTimeAfter(before.applied) ?? before.at)
      if (waitingSince !== undefined && waitingSince < before.at && seen.sentAt > busySince) {
        node.noteReplayRate(Number(node.applied - before.applied) / (seen.sentAt - busySince))
      }
      node.advancedAt = seen.sentAt
    }
    if (waitingSince === undefined) node.replayRate = undefined
  }

  #observePeer(logs: Logs, node: Node, seen: Observation, sameLife: boolean, previousAt: number): void {
    const foreign = this.#foreign(seen)
    if (foreign !== undefined) logs.forget(node)
    const problem: PeerProblem | undefined = foreign ?? logs.observe(node, seen, sameLife, previousAt)
    this.#setProblem(node, problem && { reason: problem.reason })
    if (problem?.rival !== undefined) this.#setProblem(problem.rival, { reason: problem.reason })
  }

  #setProblem(node: Node, problem: NodeProblem | undefined): void {
    const usable = problem === undefined
    if (node.usable === usable && node.problem?.reason === problem?.reason) return
    node.usable = usable
    node.problem = problem
    publish('tidemark:node', () => ({ db: this.name, node: node.id, usable, ...problem }))
  }

  #changed(node: Node): void {
    for (const listener of this.#listeners) listener(node)
  }
}
