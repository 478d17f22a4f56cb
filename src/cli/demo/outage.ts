import { NotReadyError } from '../../core/ladder.js'
import { NotServedError } from '../../core/router.js'
import { NotAppliedError } from '../../core/write-policy.js'
import { rerouteReasonOf } from '../../engines/postgres/driver-errors.js'
import { NoPrimaryError } from '../../engines/postgres/index.js'

/**
 * What a person is told when a request failed because of the state of the cluster, which a failover makes normal;
 * `undefined` for an error that is the demo's own.
 */
export function outageOf(error: unknown): string | undefined {
  if (error instanceof NoPrimaryError) return 'there is no primary at the moment'
  if (error instanceof NotAppliedError) return 'it is stored, but too few nodes had it in time to call it done'
  if (error instanceof NotReadyError || error instanceof NotServedError) return 'no node that has your photos can be reached'
  // As on a standby: a pool may still hold a connection to a node that has another role now.
  if (rerouteReasonOf(error, true) !== undefined) return 'the node that was asked is down'
  return undefined
}
