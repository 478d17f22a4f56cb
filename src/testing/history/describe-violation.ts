import type { HistoryRecord, OperationRecord } from './record.js'
import type { Violation } from './report.js'
import { RULES } from './rules.js'
import { quote, time } from './words.js'

/** A counterexample with a long line of versions is shown in part. */
const MAX_RECORDS = 24

/** A violation for people: which rule, what happened, and the records that show it. Lines of plain text, harmless to a terminal. */
export function describeViolation({ rule, message, counterexample }: Violation): string[] {
  return [
    `${rule}: ${RULES[rule]}`,
    `  ${message.charAt(0).toUpperCase()}${message.slice(1)}.`,
    ...counterexample.slice(0, MAX_RECORDS).map(record => `    ${describeRecord(record)}`),
    ...(counterexample.length > MAX_RECORDS ? [`    … and ${counterexample.length - MAX_RECORDS} more records`] : []),
  ]
}

function describeRecord(record: HistoryRecord): string {
  if (record.type === 'op') return describeOperation(record)
  if (record.type === 'gauge') return `${quote(record.name)} reached ${record.value}, bound ${record.bound}`
  if (record.type === 'final') return `in the end ${quote(record.key)} holds ${quote(record.value)}`
  return `version ${quote(record.value)} of ${quote(record.key)} replaced ${quote(record.prev)}`
}

function describeOperation(operation: OperationRecord): string {
  const { id, session, start, end, status, reads = [], writes = [], asked, achieved, error } = operation
  const facts = [
    ...writes.map(([key, value, prev]) => {
      const replaced = prev === undefined ? '' : prev === null ? ', the first' : `, replacing ${quote(prev)}`
      return `wrote ${quote(key)} = ${quote(value)}${replaced}`
    }),
    ...reads.map(([key, value]) => `read ${quote(key)} = ${quote(value)}`),
    ...(status === 'ok' ? [] : [status === 'failed' ? 'FAILED' : 'outcome unknown']),
    ...(error === undefined ? [] : [quote(error)]),
    ...(asked === undefined ? [] : [`asked ${asked}`]),
    ...(achieved === undefined ? [] : [`achieved ${achieved}`]),
    ...(operation.fromOwnCache === true ? ['from its own cache'] : []),
    ...(operation.reportsLoss === true ? ['told of a loss'] : []),
    ...(operation.deadlineMs === undefined ? [] : [`deadline ${operation.deadlineMs} ms`]),
  ]
  return `${time(start)}–${end === undefined ? '?' : time(end)} ms  session ${quote(session)}  operation ${id}: ${facts.join('; ')}`
}
