/**
 * A small leaderless database in memory: peers that stamp their writes with hybrid logical clocks, each in a log of its own, and
 * get the others' logs when the test says so. What the executor does with it is the real code.
 */
import type { Clock } from '../../src/core/clock.js'
import type { Cluster } from '../../src/core/cluster.js'
import type { Observation } from '../../src/core/engine.js'
import type { Engine, EngineNode, Lease, NodeSpec } from '../../src/core/execution/engine.js'
import { HybridLogicalClock } from '../../src/core/hlc.js'
import { Position } from '../../src/core/position.js'
import { logOf } from './kit.js'

interface Entry {
  readonly lineage: string
  readonly stamp: bigint
  readonly key: string
  readonly value: string
}

export class Peer {
  readonly name: string
  readonly clock: Clock
  generation = 1
  lives = 1
  /** So many of the next connections turn out to be of the life before: somebody has heard of a new one meanwhile. */
  outlived = 0
  /** Answers nobody. */
  cut = false
  applied = Position.zero
  /** What it has applied, in the order in which it has. */
  readonly entries: Entry[] = []
  readonly hlc: HybridLogicalClock

  constructor(name: string, clock: Clock) {
    this.name = name
    this.clock = clock
    this.hlc = new HybridLogicalClock({ clock, persist: () => {} })
  }
  get log(): string {
    return logOf(this.name, this.generation)
  }
  get incarnation(): string {
    return `life ${this.lives} of ${this.name}`
  }
  write(key: string, value: string): Position {
    const stamp = this.hlc.now()
    this.#apply({ lineage: this.log, stamp, key, value })
    return Position.at(this.log, stamp)
  }
  /** The newest value by stamp. */
  read(key: string): string | undefined {
    const entries = this.entries.filter(entry => entry.key === key)
    return entries.sort((a, b) => (a.stamp < b.stamp ? 1 : -1))[0]?.value
  }
  /** Applies the log that `other` writes, or all that it has. */
  pull(other: Peer, all = false): void {
    for (const entry of other.entries) {
      if ((all || entry.lineage === other.log) && (this.applied.offsetIn(entry.lineage) ?? -1n) < entry.stamp) {
        this.hlc.receive(entry.stamp)
        this.#apply(entry)
      }
    }
  }
  /** Comes back from a copy that has nothing, and begins another log. */
  loseAll(): void {
    this.lives++
    this.generation++
    this.applied = Position.zero
    this.entries.length = 0
  }
  observation(): Observation {
    const at = this.clock.now()
    const peer = { log: this.log, applied: this.applied }
    return {
      sentAt: at,
      receivedAt: at,
      role: 'peer',
      system: 'shop',
      epoch: undefined,
      applied: undefined,
      incarnation: this.incarnation,
      peer,
    }
  }
  #apply(entry: Entry): void {
    this.entries.push(entry)
    this.applied = this.applied.join(Position.at(entry.lineage, entry.stamp))
  }
}

export interface PeerLease extends Lease {
  readonly peer: Peer
}

export interface PeerNode extends EngineNode<PeerLease> {
  readonly spec: NodeSpec
}

export function peerEngine(peers: ReadonlyMap<string, Peer>): Engine<NodeSpec, PeerNode> {
  return {
    topology: 'leaderless',
    rerouteReasonOf: error => (error instanceof Error && error.message === 'cut' ? 'unreachable' : undefined),
    connect(spec, cluster: Cluster) {
      const peer = peers.get(spec.id)!
      const node = cluster.node(spec.id)
      const answered = async () => {
        if (peer.cut) throw new Error('cut')
        return peer.observation()
      }
      return {
        spec,
        node,
        take: () => undefined,
        async acquired() {
          // A new connection is checked before its first use (rule 1).
          cluster.observe(node, await answered())
          const incarnation = peer.outlived-- > 0 ? 'the life before' : peer.incarnation
          return { peer, incarnation, writes: peer.log, release() {} }
        },
        probe: answered,
        locate: answered,
        cut() {},
        async close() {},
      }
    },
  }
}
