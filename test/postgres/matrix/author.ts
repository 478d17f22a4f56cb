/**
 * One author: what was acknowledged to it, and whether what it reads includes that.
 *
 * A row keeps all numbers that were ever written under its key, so that a write that went missing is missed for good, and not
 * covered up by the next one.
 */

import { NotAppliedError } from '../../../src/core/write-policy.js'
import { rerouteReasonOf } from '../../../src/engines/postgres/driver-errors.js'
import { NoPrimaryError, type PostgresSession, type Tidemark } from '../../../src/engines/postgres/index.js'
import { NotServedError } from '../../../src/index.js'
import type { Tally } from './tally.js'

export const SCHEMA = 'CREATE TABLE written (key text PRIMARY KEY, ns int[] NOT NULL)'
/** Returns what a read of the key would, so that a session cache can keep it. */
const SAVE =
  'INSERT INTO written VALUES ($1, ARRAY[$2::int]) ON CONFLICT (key) DO UPDATE SET ns = written.ns || excluded.ns RETURNING ns'
const READ = 'SELECT ns FROM written WHERE key = ANY($1)'

type Reader = Pick<Tidemark['eventual'], 'query'>

export class Author {
  readonly #keys: readonly string[]
  /** Acknowledged, and not reported as lost since; with the position that the router said. */
  readonly #expected = new Map<number, string | undefined>()
  #written = 0

  constructor(...keys: readonly string[]) {
    this.#keys = keys
  }

  /** Resolves when the write is acknowledged, or has failed openly: then it may have happened, and is not expected. */
  async write(session: PostgresSession, tally: Tally, index = 0): Promise<void> {
    const n = ++this.#written
    const key = this.#keys[index]!
    try {
      await session.query(SAVE, [key, n], { cache: key })
    } catch (error) {
      // Committed, although fewer nodes than wanted have it.
      if (!(error instanceof NotAppliedError)) return openFailure(error, tally)
    }
    this.#expected.set(n, session.lastWrite?.position)
  }

  /** The read of a session on `db`. */
  async read(db: Tidemark, session: PostgresSession, tally: Tally): Promise<void> {
    const seen = await this.#seen(session, tally)
    if (seen === undefined) return
    const { node, rung, possiblyLost } = session.lastOutcome!
    const role = db.status().find(status => status.node === node)?.role
    if (role === 'replica') tally.onReplicas++
    const missing = [...this.#expected].filter(([n]) => !seen.has(n))
    const detail = () => `missing ${missing.map(entry => entry.join(' at '))}, served by ${node} (${role}, ${rung}): ${say(db)}`
    if (!possiblyLost) {
      if (missing.length > 0) tally.violation(detail())
      return
    }
    tally.reports++
    if (role === 'primary') {
      // What it says is true from now on. But what was written in the history that it writes, no promotion has cut off.
      const present = db.status().find(status => status.node === node)?.timeline
      const isCutOff = missing.every(([, position]) => position === undefined || timelineOf(position) !== present)
      if (!isCutOff) tally.violation(`said to be lost, ${detail()}`)
      tally.lost += missing.length
      for (const [n] of missing) this.#expected.delete(n)
    } else if (role !== 'replica' || missing.length > 0) {
      // A replica may say so when it has the writes, but the cluster left that history while it was asked. Nobody else may.
      tally.violation(`said to be lost, ${detail()}`)
    }
  }

  /** The control: nothing is asked for, so everything that is missing counts. */
  async readUnfenced(db: Tidemark, tally: Tally): Promise<void> {
    const seen = await this.#seen(db.eventual, tally)
    if (seen !== undefined && [...this.#expected.keys()].some(n => !seen.has(n))) tally.violation('unfenced')
  }

  async #seen(reader: Reader, tally: Tally): Promise<Set<number> | undefined> {
    const [key] = this.#keys
    try {
      const options = this.#keys.length === 1 && key !== undefined ? { cache: key } : {}
      const { rows } = await reader.query<{ ns: number[] }>(READ, [this.#keys], options)
      tally.reads++
      return new Set(rows.flatMap(({ ns }) => ns))
    } catch (error) {
      openFailure(error, tally)
      return undefined
    }
  }
}

/** An error that says that there is no service now is no wrong answer. Anything else fails the test. */
function openFailure(error: unknown, tally: Tally): void {
  const expected =
    error instanceof NoPrimaryError || error instanceof NotServedError || rerouteReasonOf(error, false) === 'unreachable'
  if (!expected) throw error
  tally.unavailable++
}

export function hasPrimary(db: Tidemark): boolean {
  return db.status().some(({ role, usable }) => role === 'primary' && usable)
}

function timelineOf(position: string): number {
  return Number(/\/(\d+)@/.exec(position)?.[1])
}

function say(db: Tidemark): string {
  return db
    .status()
    .map(({ node, role, usable, timeline, applied }) => `${node} ${usable ? role : 'unusable'} ${timeline}@${applied}`)
    .join(', ')
}
