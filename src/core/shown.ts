const MAX_CHARACTERS = 100

/** A value as the message of an error shows it: short, without what is inside (it may be a secret), and never a reason for another error. */
export function shown(value: unknown): string {
  if (typeof value === 'string')
    return JSON.stringify(value.length > MAX_CHARACTERS ? `${value.slice(0, MAX_CHARACTERS)}…` : value)
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'function') return 'a function'
  if (Array.isArray(value)) return `a list of ${value.length}`
  return typeof value === 'object' && value !== null ? 'an object' : String(value)
}

/** Whether a value has properties that can be read: options come from plain JavaScript, too. */
export function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}
