import type { Cluster } from '../cluster.js'
import type { Node } from '../node.js'
import type { Lease } from './engine.js'

/**
 * The ladder's reads that replicas are working on. When a replica is lost (it accepts, and never answers), their connections
 * are cut: they fail as unreachable and move on, instead of waiting for as long as the network stack does. Only reads
 * that can move on are entered here, never a transaction.
 */
export class ReadsInFlight<L extends Lease> {
  readonly #leases = new Map<Node, Set<L>>()

  constructor(cluster: Cluster, cut: (node: Node, lease: L) => void) {
    cluster.onChange(node => {
      if (node.reachable || !node.follows) return
      for (const lease of this.#leases.get(node) ?? []) cut(node, lease)
    })
  }

  /** Returns how to leave. */
  enter(node: Node, lease: L): () => void {
    const known = this.#leases.get(node)
    const leases = known ?? new Set()
    if (known === undefined) this.#leases.set(node, leases)
    leases.add(lease)
    return () => leases.delete(lease)
  }
}
