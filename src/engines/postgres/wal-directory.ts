/**
 * What the names of the files in `pg_wal` prove about where a timeline began, for roles that may read nothing better.
 *
 * A primary that is on timeline T writes segments named T from the one in which T began (its switch point lies within that
 * segment or at its start). If m is the lowest number of a segment named T *that ever was*, then the switch point is at
 * least m × segment size, and everything of the parent up to there is included. What must be proven is that no lower one
 * was removed. Were it so, m would be too high, and the bound would claim what may have been cut off.
 *
 * PostgreSQL removes segments by number, whatever timeline they are named after, each time up to a certain
 * number (`RemoveOldXlogFiles`; "We ignore the timeline part of the XLOG segment identifiers"). A pass that removed a T
 * below m would have removed the parent's m - 1 too, so its being there says that no pass did. These could make that
 * wrong, and each is ruled out:
 *
 * - *Archiving* holds back segments one by one. Hence: only with `archive_mode = off`, and, as it may have been another before
 *   a restart, only when T began in the life of this postmaster: it wrote the history file later than it started. (By the
 *   server's clock; one that was set back by more than the time since the promotion could deceive here.) This also
 *   excludes copies of another server's directory. A standby's `archive_status` tells nothing: all it has streamed is "done".
 * - *A pass at work* has removed some and not yet others, and a listing is not atomic either. The directory is listed
 *   twice, and between that the checkpointer, which alone makes these passes, is seen where it cannot be within one.
 *   So a pass that took a T from the first listing is over before the second, where m - 1 still is.
 * - *Files that come later*: segments of older timelines are added only in recovery, by streaming, from an archive, or
 *   from a rewind before it; so only by a server that is not yet the primary of T. (Not ruled out: somebody who copies
 *   single segments into a running primary's `pg_wal`, or removes them there by hand. The manual tells one not to.)
 * - *A removal that failed*: common only on Windows, where open files cannot be removed. There: no claim.
 *   After a crash within a pass, PostgreSQL makes another before it lets anybody connect.
 *
 * The parent is who has segment m - 1, if that is one timeline only. A segment of a branch that was abandoned must not
 * pass for it: a promotion removes those beyond its switch point, so the older segments of a tidy directory lie one behind the
 * other, timelines in order, none above m, no number missing. Any other directory: no claim.
 *
 * Names that are not those of whole segments (`.partial`, `.history`, `.backup`) say nothing and count for nothing. Segments of
 * T that were recycled for future use have higher numbers than the current one and so do not move m. One that a promotion
 * recycles to a number just below the switch point makes m too low, and the bound only weaker.
 */
import type { Ancestor } from './timeline-history.js'

/** What was seen in a primary's directory, in this order of time. */
export interface WalDirectory {
  readonly segmentSize: bigint
  readonly first: readonly string[]
  readonly second: readonly string[]
}

const SEGMENT = /^[0-9A-F]{24}$/

/**
 * The checkpointer waits for work, or between two writes of a checkpoint, whose removals come at its end. Servers before 14
 * do not show the latter: no claim then until the checkpoint is over.
 */
const NOT_REMOVING = ['CheckpointerMain', 'CheckpointWriteDelay']

const settingsQuery = (timeline: string) => `
SELECT CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END AS timeline,
       pg_size_bytes(current_setting('wal_segment_size'))::text AS segment_size,
       ((SELECT modification FROM pg_ls_waldir() WHERE name = '${timeline}.history') > pg_postmaster_start_time())::text AS began_here,
       current_setting('archive_mode') AS archive_mode,
       current_setting('dynamic_shared_memory_type') AS shared_memory`
const LIST = 'SELECT name FROM pg_ls_waldir()'
const CHECKPOINTER = "SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'checkpointer'"

/**
 * A lower bound of where the parent of `timeline` was left, from a primary that is on it; `undefined` when nothing can be
 * proven. `ask` runs one statement in a transaction of its own. Rejects when it does, as for a role that may not read this.
 */
export async function ancestorFromWalDirectory(
  ask: (sql: string) => Promise<Record<string, unknown>[]>,
  timeline: number,
): Promise<Ancestor | undefined> {
  const names = async () => (await ask(LIST)).map(row => String(row.name))
  const hex = timeline.toString(16).toUpperCase().padStart(8, '0')
  const [settings] = await ask(settingsQuery(hex))
  if (settings?.timeline !== hex || settings.began_here !== 'true') return undefined
  // `windows` is the only choice there, and none elsewhere.
  if (settings.archive_mode !== 'off' || settings.shared_memory === 'windows') return undefined
  const first = await names()
  const [checkpointer] = await ask(CHECKPOINTER)
  if (!NOT_REMOVING.includes(String(checkpointer?.wait_event))) return undefined
  return ancestorFromNames(timeline, { segmentSize: BigInt(String(settings.segment_size)), first, second: await names() })
}

/** The proof itself, see above; `undefined` when there is none. */
export function ancestorFromNames(timeline: number, directory: WalDirectory): Ancestor | undefined {
  const first = segmentsOf(directory.first, directory.segmentSize)
  const second = segmentsOf(directory.second, directory.segmentSize)
  if (first === undefined || second === undefined) return undefined
  const own = first.filter(segment => segment.timeline === timeline).map(segment => segment.number)
  const begin = own.reduce<bigint | undefined>((least, n) => (least === undefined || n < least ? n : least), undefined)
  if (begin === undefined || new Set(own).size !== own.length || !isUnbroken(own)) return undefined

  const older = first.filter(segment => segment.timeline !== timeline)
  const left = second.filter(segment => segment.timeline !== timeline)
  const same = older.length === left.length && older.every((segment, index) => segment.name === left[index]!.name)
  if (!same) return undefined
  if (older.some(segment => segment.timeline > timeline || segment.number > begin)) return undefined
  if (!isInOrder(older)) return undefined
  const before = older.filter(segment => segment.number < begin)
  if (!isUnbroken(before.map(segment => segment.number))) return undefined
  const parents = before.filter(segment => segment.number === begin - 1n)
  if (parents.length !== 1) return undefined
  return { timeline: parents[0]!.timeline, includedUpTo: begin * directory.segmentSize, exact: false }
}

interface Segment {
  readonly name: string
  readonly timeline: number
  readonly number: bigint
}

/** The whole segments, by number and then timeline; `undefined` when a name cannot be one of this segment size. */
function segmentsOf(names: readonly string[], segmentSize: bigint): Segment[] | undefined {
  if (segmentSize <= 0n || 0x1_0000_0000n % segmentSize !== 0n) return undefined
  const perLog = 0x1_0000_0000n / segmentSize
  const segments: Segment[] = []
  for (const name of names) {
    if (!SEGMENT.test(name)) continue
    const low = BigInt(`0x${name.slice(16)}`)
    if (low >= perLog) return undefined
    const number = BigInt(`0x${name.slice(8, 16)}`) * perLog + low
    segments.push({ name, timeline: Number.parseInt(name.slice(0, 8), 16), number })
  }
  return segments.sort((a, b) => Number(a.number - b.number) || a.timeline - b.timeline)
}

/** Whether no number is missing between the least and the greatest. */
function isUnbroken(numbers: readonly bigint[]): boolean {
  const sorted = [...new Set(numbers)].sort((a, b) => Number(a - b))
  return sorted.every((n, index) => index === 0 || n === sorted[index - 1]! + 1n)
}

/** Whether, by number, no timeline comes back after a later one: each is left within one segment and never seen again. */
function isInOrder(sorted: readonly Segment[]): boolean {
  return sorted.every((segment, index) => index === 0 || segment.timeline >= sorted[index - 1]!.timeline)
}
