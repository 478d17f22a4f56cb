import { createReadStream } from 'node:fs'
import type { Readable } from 'node:stream'
import { HistoryError } from './history-error.js'
import { parseRecord } from './parse-record.js'
import type { HistoryRecord } from './record.js'
import { printable } from './words.js'

/** Characters; a longer line is refused before it is read to its end. */
export const MAX_LINE_LENGTH = 1_048_576

/**
 * Reads a history, one JSON object a line, from a file or a stream of bytes or text, without holding more than a line of it.
 *
 * Throws {@link HistoryError} when it cannot be read, or a line is no record: it names the file (or `stream`) and the line, and
 * says what was expected. Ends the stream in any case.
 */
export async function* readHistory(source: string | Readable): AsyncGenerator<HistoryRecord, void, undefined> {
  const name = typeof source === 'string' ? source : 'stream'
  let line = 0
  for await (const text of linesOf(source, name)) {
    line++
    const place = `${name}:${line}`
    if (text === undefined) throw new HistoryError(place, line, `a line has at most ${MAX_LINE_LENGTH} characters, this has more`)
    let json: unknown
    try {
      json = JSON.parse(text)
    } catch (cause) {
      throw new HistoryError(
        place,
        line,
        `is not JSON (${printable((cause as Error).message)}); expected one object on each line`,
        {
          cause,
        },
      )
    }
    try {
      yield parseRecord(json)
    } catch (cause) {
      throw new HistoryError(place, line, (cause as Error).message)
    }
  }
}

/** Lines without their ends; `undefined`, and nothing more, for one that is too long. */
async function* linesOf(source: string | Readable, name: string): AsyncGenerator<string | undefined> {
  const stream = typeof source === 'string' ? createReadStream(source) : source
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let rest = ''
  try {
    for await (const chunk of stream) {
      const lines = (rest + (typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true }))).split('\n')
      rest = lines.pop()!
      for (const line of lines) yield line.length > MAX_LINE_LENGTH ? undefined : line
      if (rest.length > MAX_LINE_LENGTH) yield undefined
    }
    rest += decoder.decode()
  } catch (cause) {
    throw new HistoryError(name, undefined, `cannot be read (${(cause as Error).message})`, { cause })
  }
  if (rest !== '') yield rest
}
