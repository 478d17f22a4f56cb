import type { NodeStatus } from './database/node-status.js'
import type { Stats } from './stats.js'

/** What is shown of a node, in the engine's own words. */
export interface ObservedNode extends Omit<NodeStatus, 'epoch' | 'applied' | 'behind'> {
  readonly applied: string | undefined
  readonly behindBytes: number | undefined
}

/** What can be observed: any database of Tidemark. */
export interface Observed {
  /** Tells databases of one process apart, in events and labels. */
  readonly name: string
  /** The engine, by its name in OpenTelemetry's `db.system.name`. */
  readonly system: string
  stats(): Stats
  status(): readonly ObservedNode[]
  /** Reads that are parked until a replica has caught up. */
  readonly waiting: number
}
