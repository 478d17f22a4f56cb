/** Reads and writes of the session cache: who fills it, and when a value is done with. */
import type { Clock } from '../clock.js'
import type { Cluster } from '../cluster.js'
import { type Events, publish } from '../events.js'
import { neededBy } from '../history.js'
import type { Position } from '../position.js'
import type { Served } from '../router.js'
import type { ScopeId } from '../scope.js'
import type { Session } from '../session.js'
import type { CacheEntry, SessionCaches, Turn } from '../session-cache.js'
import { untilAborted } from '../until-aborted.js'

export interface OwnValuesContext {
  readonly caches: SessionCaches
  readonly cluster: Cluster
  readonly clock: Clock
}

/** What the cache keeps of a result. */
export type Rows = CacheEntry['rows']

/** The author's own value that a read or a write stands for, and how it is part of a result. */
export interface OwnValue<R> {
  readonly key: string
  rowsOf(result: R): Rows
  /** A result with these rows; like `result`, if that is given. */
  withRows(rows: Rows, result?: R): R
}

/** What a read that the cache serves looks like to the application. */
export function ownResult<R>(own: OwnValue<R>, { rows }: CacheEntry): R {
  return own.withRows(copied(rows))
}

/**
 * Reads what `own.key` stands for: `read` is given the author's own value if that one is new enough, for the ladder to take or
 * leave. Who wants the same value meanwhile waits for the same load, unless it has to see more than that load is sure to. A
 * read with a deadline of its own does not share its load: others are not to fail by it, nor it to wait beyond it.
 */
export async function readOwn<R>(
  session: Session,
  own: OwnValue<R>,
  scopes: readonly ScopeId[] | undefined,
  { caches, cluster, clock }: OwnValuesContext,
  read: (cached: CacheEntry | undefined) => Promise<Served<R>>,
  signal: AbortSignal | undefined,
): Promise<R> {
  if (session.arriving !== undefined) await untilAborted(session.arriving, signal)
  const { author } = session
  const { key } = own
  const tell = (result: Events['tidemark:cache']['result']) => {
    if (!session.quiet) publish('tidemark:cache', () => ({ db: cluster.name, cache: 'session', result }))
  }
  // What nothing bounds, no value is new enough for.
  if (session.history.uncertain) {
    tell('bypassed')
    return (await read(undefined)).result
  }
  const needed = neededBy(session.history, session.guarantee, scopes)
  const monotonic = session.guarantee === 'monotonic-reads'
  let loaded = false
  const load = async () => {
    loaded = true
    const entry = caches.get(author, key)
    const serves = entry?.position.includes(needed) && (!monotonic || entry.bound !== undefined)
    const served = await read(serves ? entry : undefined)
    const isHit = served.outcome.rung === 'sessionCache'
    tell(isHit ? 'hit' : serves ? 'bypassed' : entry === undefined ? 'miss' : 'refused')
    if (isHit) {
      // It may be of another session of the same author, and no replica has it.
      if (monotonic && entry?.bound !== undefined) session.saw(entry.bound)
      return served
    }
    // A replica that serves has the write: the value has done its work. While only the primary has it, it is kept fresh.
    const keeps = served.outcome.node === cluster.primary?.id && served.outcome.guarantee !== 'eventual' && !needed.isZero
    if (keeps) caches.put(author, key, { rows: own.rowsOf(served.result), position: needed, storedAt: clock.now() })
    else if (served.outcome.guarantee !== 'eventual') caches.delete(author, key)
    return served
  }
  // Of what a shared load has shown, only its own session remembers the bound.
  const shares = signal === undefined && !monotonic
  let served = await (shares ? caches.loadOnce(author, key, needed, load) : load())
  // Another read's ladder may have let it degrade, which this one has not chosen.
  if (!loaded && served.outcome.guarantee === 'eventual') served = await load()
  const { result, outcome } = served
  // One event a read, also of one that has waited for another's load.
  if (!loaded && !session.quiet) publish('tidemark:read', () => ({ db: cluster.name, ...outcome }))
  session.lastOutcome = outcome
  session.readFrom(undefined)
  return own.withRows(copied(own.rowsOf(result)), result)
}

/** Keeps what a committed write returned, or forgets what it made out of date. */
export function keepWritten(
  { author, key }: Pick<Turn, 'author' | 'key'>,
  rows: Rows | undefined,
  position: Position | undefined,
  { caches, clock, cluster }: OwnValuesContext,
): void {
  if (rows === undefined || rows.length === 0 || position === undefined) caches.delete(author, key)
  // Of a leaderless cluster the position is of one log, and the row may show what is in others.
  else
    caches.put(author, key, {
      rows: copied(rows),
      position,
      bound: cluster.logs === undefined ? position : undefined,
      storedAt: clock.now(),
    })
}

/** Each reader gets rows of its own: what one does to them another must not see. */
function copied(rows: Rows): Rows {
  return rows.map(row => (Array.isArray(row) ? ([...row] as never) : { ...row }))
}
