import type { OperationRecord } from './record.js'

/** A value as a message shows it. */
export function quote(value: string | null): string {
  return value === null ? 'nothing' : JSON.stringify(value)
}

export function byOperation({ id, session, end }: OperationRecord): string {
  const until = end === undefined ? '' : `, completed at ${end} ms,`
  return `operation ${id} of session ${JSON.stringify(session)}${until}`
}
