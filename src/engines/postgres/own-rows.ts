import type pg from 'pg'
import type { OwnValue } from '../../core/execution/own-values.js'

/** The author's own rows under a key of the session cache; `undefined` without one. */
export function ownRows(key: string | undefined): OwnValue<pg.QueryResult> | undefined {
  if (key === undefined) return undefined
  return {
    key,
    rowsOf: ({ rows }) => rows,
    withRows: (rows, result) => ({ ...(result ?? selected(rows.length)), rows: [...rows] }),
  }
}

/** What the driver makes of a SELECT. */
function selected(rowCount: number): pg.QueryResult {
  return { command: 'SELECT', rowCount, oid: 0, fields: [], rows: [] }
}
