import type { AskedGuarantee, OperationRecord } from './record.js'

/** What was asked for. */
export function askedOf(operation: OperationRecord): AskedGuarantee {
  return operation.asked ?? 'read-your-writes'
}

/** What the answer says that it is. */
export function achievedOf(operation: OperationRecord): AskedGuarantee {
  return operation.achieved ?? askedOf(operation)
}
