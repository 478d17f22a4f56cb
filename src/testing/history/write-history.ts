import { createWriteStream } from 'node:fs'
import { Readable, type Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { HistoryRecord } from './record.js'

/** A record as a line of a file, with its end. */
export function formatRecord(record: HistoryRecord): string {
  return `${JSON.stringify(record)}\n`
}

/** Writes a history for `readHistory`, to a file, which is replaced, or to a stream, which is ended. Rejects when that fails. */
export async function writeHistory(
  target: string | Writable,
  records: Iterable<HistoryRecord> | AsyncIterable<HistoryRecord>,
): Promise<void> {
  const stream = typeof target === 'string' ? createWriteStream(target) : target
  const lines = async function* () {
    for await (const record of records) yield formatRecord(record)
  }
  await pipeline(Readable.from(lines()), stream)
}
