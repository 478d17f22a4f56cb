import { ConfigurationError } from '../../core/errors.js'

/** Longer names PostgreSQL cuts off, and then it would be another table. Counted in bytes; these characters have one each. */
const NAME = /^[A-Za-z_][A-Za-z0-9_$]{0,62}$/

/** `name` or `schema.name`, quoted. Throws {@link ConfigurationError} for anything else; `option` says whose it is. */
export function quotedTable(table: string, option: string): string {
  const parts = table.split('.')
  if (parts.length > 2 || !parts.every(part => NAME.test(part))) {
    throw new ConfigurationError(
      `${option}: ${JSON.stringify(table)} is not a table name; expected "name" or "schema.name", each of up to 63 ` +
        'letters, digits, _ and $, not beginning with a digit or $',
    )
  }
  return parts.map(part => `"${part}"`).join('.')
}
