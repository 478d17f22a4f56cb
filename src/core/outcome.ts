/** What a session may ask of its reads. */
export type Guarantee =
  /** The session sees everything it has written. */
  | 'read-your-writes'
  /** That, and it never sees time go back when it moves between nodes. */
  | 'monotonic-reads'

export type FallbackReason =
  /** No usable replica has applied the fence. */
  | 'behind'
  /** No position proves anything, so only the primary could answer. */
  | 'uncertain'
  /** The session has a write that may be lost. */
  | 'possibly-lost'
  /** No replica is usable, or each that is has failed this read. */
  | 'no-replica'
  /** A replica refused it: it was no read after all. */
  | 'needs-primary'

/** What a read got. */
export interface Outcome {
  /** The id of the node that served. */
  readonly node: string
  /** The name of the rung that served: `replica`, `wait`, `primary`, `stale`, … */
  readonly rung: string
  /**
   * Why a later rung of the ladder served it than one that spares the primary; `undefined` when none of that kind came before,
   * or one of them served.
   */
  readonly fallback: FallbackReason | undefined
  /** What came of waiting for a replica; `skipped`: it could not have succeeded in time. `undefined`: there was no need to. */
  readonly wait: 'succeeded' | 'timed-out' | 'skipped' | undefined
  /** Milliseconds spent waiting for replication; 0 on the fast path. */
  readonly waitedMs: number
  /**
   * What actually holds for this read. `eventual` when nothing was asked, when a rung that the caller chose gave less, or
   * when the session's writes are possibly lost (see `possiblyLost`).
   */
  readonly guarantee: Guarantee | 'eventual'
  /** The session has a write that the cluster's present history may not include (it was cut off by a failover). */
  readonly possiblyLost: boolean
  /**
   * At most this long ago the primary was where the serving node was when last heard of; 0 for the primary, `undefined`
   * when not known. Milliseconds on this router's monotonic clock.
   */
  readonly stalenessMs: number | undefined
  /** How many nodes failed or declined before this one. */
  readonly reroutes: number
}
