import type { Ladder } from '../../core/ladder.js'
import type { WritePolicy } from '../../core/write-policy.js'

/** What may be said of one statement. */
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
