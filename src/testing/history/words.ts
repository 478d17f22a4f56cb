import type { OperationRecord } from './record.js'

/** Text from a history, printable to a terminal. */
export function printable(text: string): string {
  return text.replaceAll(/\p{C}/gu, char => `\\u{${char.codePointAt(0)!.toString(16)}}`)
}

/** A value, key or name as a message shows it. */
export function quote(value: string | null): string {
  return value === null ? 'nothing' : printable(JSON.stringify(value))
}

export function byOperation({ id, session, end }: OperationRecord): string {
  const until = end === undefined ? '' : `, completed at ${time(end)} ms,`
  return `operation ${id} of session ${quote(session)}${until}`
}

/** Milliseconds, to the microsecond. */
export function time(ms: number): string {
  return String(Math.round(ms * 1_000) / 1_000)
}
