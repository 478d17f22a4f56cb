import { ConfigurationError } from './errors.js'
import { shown } from './shown.js'

/** The longest time of a timer, in milliseconds; beyond it one fires at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1

/** The most entries of a bounded cache: it makes room for all of them when it is made. */
export const MAX_ENTRIES = 10_000_000

/** Throws `ConfigurationError` when `value` is not a finite number from `min` to `max`. `name` says whose option it is. */
export function checkNumber(
  name: string,
  value: number,
  range: { readonly integer?: boolean; readonly min: number; readonly max?: number },
): void {
  const kind = range.integer === true ? Number.isSafeInteger(value) : Number.isFinite(value)
  if (kind && value >= range.min && value <= (range.max ?? Number.MAX_VALUE)) return
  const expected = `${range.integer === true ? 'a whole number' : 'a number'} of at least ${range.min}${range.max === undefined ? '' : ` and at most ${range.max}`}`
  throw new ConfigurationError(`${name} is ${shown(value)}; expected ${expected}`)
}
