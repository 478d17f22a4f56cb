import { ConfigurationError } from './errors.js'

/** Throws `ConfigurationError` when `value` is not a finite number of at least `min`. `name` says whose option it is. */
export function checkNumber(name: string, value: number, range: { readonly integer?: boolean; readonly min: number }): void {
  const kind = range.integer === true ? Number.isSafeInteger(value) : Number.isFinite(value)
  if (kind && value >= range.min) return
  const expected = `${range.integer === true ? 'a whole number' : 'a number'} of at least ${range.min}`
  throw new ConfigurationError(`${name} is ${String(value)}; expected ${expected}`)
}
