import type { NodeStatus } from './node-status.js'
import type { Stats } from './stats.js'

/** What can be observed: any database of Tidemark. */
export interface Observed {
  /** Tells databases of one process apart, in events and labels. */
  readonly name: string
  /** The engine, by its name in OpenTelemetry's `db.system.name`. */
  readonly system: string
  stats(): Stats
  status(): readonly NodeStatus[]
  /** Reads that are parked until a replica has caught up. */
  readonly waiting: number
}
