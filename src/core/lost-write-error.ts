import type { Verdict } from './ancestry.js'
import { TidemarkError } from './errors.js'

/** What a session's lost writes come to: an error that is thrown once, or an outcome and an event that say so. */
export type LostWrites = 'error' | 'reissue'

/**
 * A write of this session is not part of the history that the cluster writes now, or nothing tells whether it is. Thrown
 * once: the session has let go of it, its next read goes to the primary, and its next token says nothing of it.
 */
export class LostWriteError extends TidemarkError {
  declare readonly code: 'TIDEMARK_LOST_WRITE'
  readonly verdict: Verdict
  /** The position of the write, in the history it was made in. */
  readonly position: string
  /** The history that the cluster writes now; `undefined` in a leaderless one, which writes several. */
  readonly lineage: string | undefined
  /** Up to where the present history includes the older one, as far as is known. */
  readonly includedUpTo: bigint | undefined
  constructor(verdict: Verdict, position: string, lineage: string | undefined, includedUpTo: bigint | undefined) {
    super(
      'TIDEMARK_LOST_WRITE',
      `a write of this session at ${position} ${MEANING[verdict]}${lineage === undefined ? '' : ` (the cluster now writes ${lineage})`}`,
    )
    this.verdict = verdict
    this.position = position
    this.lineage = lineage
    this.includedUpTo = includedUpTo
  }
}

const MEANING: Readonly<Record<Verdict, string>> = {
  preserved: 'is preserved',
  'possibly-lost': 'lies beyond the point where a failover left its history: it is possibly lost. Check, and write it again',
  foreign: 'belongs to a history that this cluster does not go through: another system, or one that was abandoned',
  unknown:
    'belongs to another history, and nothing tells up to where the present one includes it. If that is an older one, give the user REPLICATION or pg_monitor, so that the record can be read; if it is a later one, its primary cannot be reached',
}
