import { TidemarkError } from '../../../core/errors.js'

/** A statement that cannot run on a standby was sent within a read-only transaction that lives on one. Nothing ran. */
export class NeedsPrimaryError extends TidemarkError {
  declare readonly code: 'TIDEMARK_NEEDS_PRIMARY'
  constructor(reason: string) {
    super(
      'TIDEMARK_NEEDS_PRIMARY',
      `this read-only transaction runs on a replica, where the statement cannot run: ${reason}. Begin it without READ ONLY, or with the hint /* tidemark: primary */.`,
    )
  }
}
