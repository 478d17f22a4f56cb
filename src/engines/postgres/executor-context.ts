/** What the executor is given: for all statements, and for one. */
import type { Clock } from '../../core/clock.js'
import type { Cluster } from '../../core/cluster.js'
import { TidemarkError } from '../../core/errors.js'
import type { Ladder } from '../../core/ladder.js'
import type { LostWrites } from '../../core/lost-write-error.js'
import type { Monitor } from '../../core/monitor.js'
import type { Node } from '../../core/node.js'
import type { Router } from '../../core/router.js'
import type { ScopeId } from '../../core/scope.js'
import type { Session } from '../../core/session.js'
import type { CacheEntry, SessionCaches } from '../../core/session-cache.js'
import { COMMITTED, type WritePolicy } from '../../core/write-policy.js'
import type { Classifier } from './classifier.js'
import type { Lease } from './connections.js'
import type { Judge } from './judge.js'
import type { PostgresNode } from './postgres-node.js'

/** On whose behalf a statement runs: a session; nobody in particular, so any replica; or with no session in scope, so the primary. */
export type Scope = Session | 'eventual' | 'primary'

export interface QueryOptions {
  /** Overrides the classification (and a hint in the text): `replica` runs it as a read, `primary` on the primary. */
  readonly on?: 'primary' | 'replica' | undefined
  /** Overrides the session's ladder for this read. */
  readonly ladder?: Ladder | undefined
  /** Ends waiting, and asks the server to cancel the statement if it is running. */
  readonly signal?: AbortSignal | undefined
  /**
   * What a write touches, and nothing else: only reads of that scope, or of none, then wait for it. What a read reads, and
   * nothing else: writes of other scopes do not hold it back. Default: everything, or with `scopes: 'tables'` the tables.
   */
  readonly scope?: string | readonly string[] | undefined
  /**
   * The author's own value: a write keeps the rows that it returns under this key, and a read with the same key may get them
   * from a `sessionCache` rung until a replica has them. For sessions only.
   */
  readonly cache?: string | undefined
  /** Overrides the database's write policy for this write. */
  readonly writePolicy?: WritePolicy | undefined
}

/** There is no node to write to. */
export class NoPrimaryError extends TidemarkError {
  declare readonly code: 'TIDEMARK_NO_PRIMARY'
  constructor(nodes: readonly Node[]) {
    const said = nodes.map(node => `${node.id}: ${node.problem?.reason ?? node.role ?? 'not heard of yet'}`)
    super(
      'TIDEMARK_NO_PRIMARY',
      `no primary is known, so there is nowhere to write. ${said.join('; ')}. Promote a standby or start the primary.`,
    )
  }
}

/** What a routed read may add to its request. */
export interface RouteOptions<R> {
  /** It may share a connection. */
  readonly quick?: boolean
  readonly scopes?: readonly ScopeId[] | undefined
  readonly cached?: CacheEntry | undefined
  readonly fromCache?: (entry: CacheEntry) => R
}

export interface PrimaryLease {
  readonly lease: Lease
  readonly node: Node
}

export interface ExecutorContext {
  readonly cluster: Cluster
  readonly router: Router
  readonly monitor: Monitor
  readonly classifier: Classifier
  readonly nodes: ReadonlyMap<Node, PostgresNode>
  readonly judge: Judge
  readonly caches: SessionCaches
  readonly ladder: Ladder
  readonly writePolicy: WritePolicy | undefined
  readonly lostWrites: LostWrites
  /** Whether statements are scoped by the tables that they name. */
  readonly tableScopes: boolean
  readonly clock: Clock
  readonly warn: (message: string, cause?: unknown) => void
}

/** The policy that holds a write; throws `ConfigurationError`, before anything is sent, when one of its own cannot work. */
export function policyOf({ writePolicy }: QueryOptions, context: ExecutorContext): WritePolicy | undefined {
  writePolicy?.check?.(context.cluster)
  const policy = writePolicy ?? context.writePolicy
  return policy === COMMITTED ? undefined : policy
}
