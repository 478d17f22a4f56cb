import type { HistoryRecord } from './record.js'
import { printable, quote } from './words.js'

/** Whether a value is what a field takes, and that in words. */
interface Shape {
  readonly fits: (value: unknown) => boolean
  readonly expected: string
}

const isText = (value: unknown) => typeof value === 'string'
const isTextOrNull = (value: unknown) => value === null || isText(value)
const text: Shape = { fits: isText, expected: 'a string' }
const textOrNull: Shape = { fits: isTextOrNull, expected: 'a string or null' }
const flag: Shape = { fits: value => typeof value === 'boolean', expected: 'true or false' }
const number: Shape = { fits: Number.isFinite, expected: 'a number' }
const whole: Shape = { fits: value => Number.isSafeInteger(value) && (value as number) >= 0, expected: 'a whole number from 0' }
const notNegative: Shape = { fits: value => Number.isFinite(value) && (value as number) >= 0, expected: 'a number from 0' }
const oneOf = (...values: readonly string[]): Shape => ({
  fits: value => isText(value) && values.includes(value as string),
  expected: `one of ${values.map(quote).join(', ')}`,
})
const listOf = (fits: (item: readonly unknown[]) => boolean, expected: string): Shape => ({
  fits: value => Array.isArray(value) && value.every(item => Array.isArray(item) && fits(item)),
  expected,
})

const guarantee = oneOf('eventual', 'read-your-writes', 'monotonic-reads')
const reads = listOf(
  ([key, value, ...rest]) => isText(key) && isTextOrNull(value) && rest.length === 0,
  'a list of [key, value], where the value is a string or null',
)
const writes = listOf(
  ([key, value, prev = null, ...rest]) => isText(key) && isText(value) && isTextOrNull(prev) && rest.length === 0,
  'a list of [key, value] or [key, value, prev], where key and value are strings and prev is a string or null',
)

interface RecordShape {
  readonly required: Readonly<Record<string, Shape>>
  readonly optional?: Readonly<Record<string, Shape>>
}

const RECORDS = new Map<unknown, RecordShape>([
  [
    'op',
    {
      required: { id: whole, session: text, start: number, status: oneOf('ok', 'failed', 'unknown') },
      optional: {
        end: number,
        reads,
        writes,
        asked: guarantee,
        achieved: guarantee,
        mayDegrade: flag,
        reportsLoss: flag,
        fromOwnCache: flag,
        deadlineMs: notNegative,
        path: text,
        error: text,
      },
    },
  ],
  ['version', { required: { key: text, value: text, prev: textOrNull } }],
  ['final', { required: { key: text, value: textOrNull } }],
  ['gauge', { required: { name: text, value: number, bound: number } }],
])

/**
 * Takes parsed JSON for a record, or throws a sentence that says what is wrong and what was expected. Fields that are not known are
 * refused: a misspelt `reportsLoss` would make for a wrong verdict.
 */
export function parseRecord(json: unknown): HistoryRecord {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw new Error('expected a JSON object')
  const fields = json as Readonly<Record<string, unknown>>
  const shape = RECORDS.get(fields.type)
  if (shape === undefined) throw wrong('type', fields.type, oneOf(...([...RECORDS.keys()] as string[])))
  for (const [name, field] of Object.entries(shape.required))
    if (!field.fits(fields[name])) throw wrong(name, fields[name], field)
  for (const [name, value] of Object.entries(fields)) {
    if (name === 'type' || Object.hasOwn(shape.required, name)) continue
    const field = shape.optional && Object.hasOwn(shape.optional, name) ? shape.optional[name] : undefined
    if (field === undefined) {
      const known = ['type', ...Object.keys(shape.required), ...Object.keys(shape.optional ?? {})]
      throw new Error(
        `a record of type ${quote(fields.type as string)} has no field ${quote(name)}; expected only ${known.join(', ')}`,
      )
    }
    if (!field.fits(value)) throw wrong(name, value, field)
  }
  return json as HistoryRecord
}

function wrong(name: string, value: unknown, { expected }: Shape): Error {
  if (value === undefined) return new Error(`${quote(name)} is missing; expected ${expected}`)
  const shown = JSON.stringify(value)
  const short = shown.length > 60 ? `${shown.slice(0, 60)}…` : shown
  return new Error(`${quote(name)} is ${printable(short)}; expected ${expected}`)
}
