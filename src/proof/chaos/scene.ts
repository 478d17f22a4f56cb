import type { Cluster } from '../../testing/cluster.js'
import type { VersionRecord } from '../../testing/history/record.js'
import type { Router } from './routers.js'
import type { FaultKind } from './schedule.js'

/** What is counted: `rejoin` belongs to a promotion, and is a fault of its own. */
export type CountedFault = FaultKind | 'rejoin'

/** What faults happen to. */
export interface Scene {
  readonly cluster: Cluster
  readonly routers: readonly Router[]
  /** Counts a fault that is in force. */
  injected(kind: CountedFault): void
  /** What a server held that is about to be rebuilt. */
  witnessed(versions: readonly VersionRecord[]): void
}
