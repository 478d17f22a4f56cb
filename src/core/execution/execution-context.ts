/** What the parts of the executor are given. */
import type { Clock } from '../clock.js'
import type { Cluster } from '../cluster.js'
import type { Ladder } from '../ladder.js'
import type { LostWrites } from '../lost-write-error.js'
import type { Monitor } from '../monitor.js'
import type { Node } from '../node.js'
import type { Router } from '../router.js'
import type { Session } from '../session.js'
import type { SessionCaches } from '../session-cache.js'
import { COMMITTED, type WritePolicy } from '../write-policy.js'
import type { Engine, EngineNode, Lease } from './engine.js'
import type { Judge } from './judge.js'

/** On whose behalf something runs: a session; nobody in particular, so any replica; or with no session in scope, so the primary. */
export type Scope = Session | 'eventual' | 'primary'

export interface ExecutionContext<L extends Lease, N extends EngineNode<L>> {
  readonly engine: Pick<Engine, 'rerouteReasonOf'>
  readonly cluster: Cluster
  readonly router: Router
  readonly monitor: Monitor
  readonly nodes: ReadonlyMap<Node, N>
  readonly judge: Judge
  readonly caches: SessionCaches
  readonly ladder: Ladder
  readonly writePolicy: WritePolicy | undefined
  readonly lostWrites: LostWrites
  readonly clock: Clock
}

/** A lease, and the node that it leads to. */
export interface NodeLease<L extends Lease> {
  readonly lease: L
  readonly node: Node
}

/** The policy that holds a write; throws `ConfigurationError`, before anything is sent, when one of its own cannot work. */
export function policyOf(
  own: WritePolicy | undefined,
  { cluster, writePolicy }: { readonly cluster: Cluster; readonly writePolicy: WritePolicy | undefined },
): WritePolicy | undefined {
  own?.check?.(cluster)
  const policy = own ?? writePolicy
  return policy === COMMITTED ? undefined : policy
}
