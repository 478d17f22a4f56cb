/**
 * Which older timelines a server's timeline goes through, and where each was left.
 *
 * A promotion begins a new timeline at a *switch point*, the end of the last record that the new primary had replayed
 * (PostgreSQL manual, "Timelines" in "Continuous Archiving and Point-in-Time Recovery"; the file's format is told by its
 * own comments). The new history has the records of the older timeline that end at or before it. Our positions
 * are ends of records, so a position is included if and only if it is at or below the switch point.
 *
 * Saying "included" of something that is not makes a reader miss a write, so whatever is odd here is no answer.
 */
import type pg from 'pg'
import type { Clock } from '../../core/clock.js'
import { type Driver, destroy } from './driver.js'
import { parseLsn } from './lsn.js'
import { ancestorFromWalDirectory } from './wal-directory.js'

/** One older timeline in a timeline's history. */
export interface Ancestor {
  readonly timeline: number
  /** The new history includes everything of this timeline up to and including this LSN. */
  readonly includedUpTo: bigint
  /** Whether that is exactly where it was left (then what lies beyond is not included), or only a lower bound (beyond it nothing is known). */
  readonly exact: boolean
}

/** Where a history was read. All but `wal-directory` tell all of it, exactly. */
export type HistorySource = 'replication-protocol' | 'history-file' | 'wal-directory'

export interface TimelineHistory {
  readonly timeline: number
  /**
   * Oldest first. From `wal-directory` only the parent, as a lower bound; of timelines that are not listed, nothing is
   * known then. From the other sources the list is complete: nothing of any other timeline is included.
   */
  readonly ancestors: readonly Ancestor[]
  readonly source: HistorySource
}

const MAX_TIMELINE = 0xffff_ffff
const LINE = /^(\d{1,10})\t([0-9A-Fa-f]{1,8}\/[0-9A-Fa-f]{1,8})(?:\t.*)?$/

/**
 * Reads the history of `timeline` from the server that `clientConfig` leads to, which must be on that timeline: when it
 * says that it is on another one, that is no answer. Tries, in this order:
 *
 * 1. `replication-protocol`: `TIMELINE_HISTORY`, for a role with REPLICATION (or a superuser) that may connect so.
 * 2. `history-file`: `pg_read_file`, for a superuser or who was granted it.
 * 3. `wal-directory`: a lower bound of where the parent was left, from a primary, for members of `pg_monitor`. Often
 *    there is no proof of any, see `wal-directory.ts`. One may be had in the life of the server that was promoted, as
 *    long as it keeps the segment before the one of the promotion; not while it removes old segments, so ask again then.
 *
 * `undefined` when none of them answers. Never rejects. Settles within `timeoutMs` milliseconds; by then all its
 * connections are closed. Timeline 1 is the first: it has no ancestors, and nobody is asked.
 */
export async function readTimelineHistory(
  driver: Driver,
  clientConfig: pg.PoolConfig,
  timeline: number,
  timeoutMs: number,
  clock: Clock,
): Promise<TimelineHistory | undefined> {
  if (!isTimeline(timeline)) return undefined
  if (timeline === 1) return { timeline, ancestors: [], source: 'replication-protocol' }
  const deadline = clock.now() + timeoutMs
  // Some poolers do not know such connections. One that says nothing must not take the time of what they would answer.
  const first = clock.now() + timeoutMs / 2
  const replication: pg.ClientConfig & { replication: string } = { ...clientConfig, replication: 'database' }
  const told = await asked(driver, replication, first, clock, client => askProtocol(client, timeline))
  if (told !== undefined) return { timeline, ancestors: told, source: 'replication-protocol' }
  return asked(driver, clientConfig, deadline, clock, async (client): Promise<TimelineHistory | undefined> => {
    const read = await askFile(client, timeline).catch(() => undefined)
    if (read !== undefined) return { timeline, ancestors: read, source: 'history-file' }
    const parent = await ancestorFromWalDirectory(sql => rowsOf(client, sql), timeline)
    return parent && { timeline, ancestors: [parent], source: 'wal-directory' }
  })
}

/**
 * The content of a timeline's history file, oldest ancestor first, all `exact`. Throws `SyntaxError` for anything that
 * PostgreSQL would not write: half understood, a history could claim what it does not have.
 *
 * The switch points are not taken as they stand. PostgreSQL appends to its *target's* history the point where recovery
 * ended. A point-in-time recovery along timeline 2 may end before the point where 2 left 1; the new history then says
 * that 1 was left at the later point, yet has of 1 only what is before the earlier one. So no ancestor goes further
 * than any that comes after it.
 */
export function parseTimelineHistory(text: string): readonly Ancestor[] {
  const ancestors: Ancestor[] = []
  for (const line of text.split('\n')) {
    if (/^\s*(#|$)/.test(line)) continue
    const match = LINE.exec(line)
    if (match === null) throw new SyntaxError(`not a line of a timeline history: ${JSON.stringify(line)}`)
    const timeline = Number(match[1])
    const includedUpTo = parseLsn(match[2]!)
    if (!isTimeline(timeline) || timeline <= (ancestors.at(-1)?.timeline ?? 0) || includedUpTo === 0n) {
      throw new SyntaxError(`not a possible line of a timeline history, at its place: ${JSON.stringify(line)}`)
    }
    ancestors.push({ timeline, includedUpTo, exact: true })
  }
  let limit: bigint | undefined
  const capped = ancestors.reverse().map(ancestor => {
    if (limit === undefined || ancestor.includedUpTo < limit) limit = ancestor.includedUpTo
    return { ...ancestor, includedUpTo: limit }
  })
  return capped.reverse()
}

/**
 * `TIMELINE_HISTORY`, and before it who answers: the file of a timeline that the server is not on may be that of another
 * branch, which came through the archive (PostgreSQL manual, "Streaming Replication Protocol").
 */
async function askProtocol(client: pg.Client, timeline: number): Promise<readonly Ancestor[] | undefined> {
  const [system] = await rowsOf(client, 'IDENTIFY_SYSTEM')
  if (textOf(system?.timeline) !== String(timeline)) return undefined
  const [file] = await rowsOf(client, `TIMELINE_HISTORY ${timeline}`)
  if (textOf(file?.filename) !== historyFileName(timeline)) return undefined
  return ancestorsOf(timeline, textOf(file?.content))
}

/** The same file, through SQL. Only of a primary: a standby has no function that tells the timeline it replays. */
async function askFile(client: pg.Client, timeline: number): Promise<readonly Ancestor[] | undefined> {
  const hex = timelineHex(timeline)
  const [row] = await rowsOf(
    client,
    `SELECT CASE WHEN NOT pg_is_in_recovery() AND left(pg_walfile_name(pg_current_wal_lsn()), 8) = '${hex}'
                 THEN pg_read_file('pg_wal/${historyFileName(timeline)}') END AS content`,
  )
  return ancestorsOf(timeline, textOf(row?.content))
}

function ancestorsOf(timeline: number, content: string | undefined): readonly Ancestor[] | undefined {
  if (content === undefined) return undefined
  const ancestors = parseTimelineHistory(content)
  const parent = ancestors.at(-1)
  // Every timeline but the first has a parent, and it has a lower number.
  return parent !== undefined && parent.timeline < timeline ? ancestors : undefined
}

/** The values as the server sent them, whatever parsers the application has set. */
const RAW = { getTypeParser: () => (value: unknown) => value } as unknown as pg.CustomTypesConfig

/** Without values, so that it goes by the simple query protocol, the only one that replication connections speak. */
async function rowsOf(client: pg.Client, text: string): Promise<Record<string, unknown>[]> {
  return (await client.query<Record<string, unknown>>({ text, types: RAW })).rows
}

/**
 * The file's content is announced as `bytea` by older servers and as `text` by newer ones, but its bytes are sent as they are.
 * A driver that will not leave them alone makes a Buffer of them; hexadecimal is for whatever stands in between.
 */
function textOf(value: unknown): string | undefined {
  if (typeof value === 'number') return String(value)
  if (value instanceof Uint8Array) return Buffer.from(value).toString('utf8')
  if (typeof value !== 'string') return undefined
  return /^\\x([0-9a-f]{2})*$/i.test(value) ? Buffer.from(value.slice(2), 'hex').toString('utf8') : value
}

/** Asks on a connection of its own; `undefined` for every failure, and at the deadline. The connection is closed then. */
async function asked<T>(
  driver: Driver,
  config: pg.ClientConfig,
  deadline: number,
  clock: Clock,
  question: (client: pg.Client) => Promise<T | undefined>,
): Promise<T | undefined> {
  const leftMs = deadline - clock.now()
  if (!(leftMs > 0)) return undefined
  let client: pg.Client
  try {
    client = new driver.Client(config)
  } catch {
    return undefined
  }
  client.on('error', () => {})
  let expire = () => {}
  const expired = new Promise<undefined>(resolve => {
    expire = () => resolve(undefined)
  })
  const timer = clock.setTimer(expire, leftMs, { keepAlive: true })
  const answer = async () => {
    await client.connect()
    return question(client)
  }
  try {
    const result = await Promise.race([answer().catch(() => undefined), expired])
    // In order, so that the server has nothing to complain about; but a server may fall silent even now.
    await Promise.race([client.end().catch(() => {}), expired])
    return result
  } finally {
    timer.cancel()
    destroy(client)
  }
}

function isTimeline(value: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= MAX_TIMELINE
}

/** As in the names of segments and history files. */
function timelineHex(timeline: number): string {
  return timeline.toString(16).toUpperCase().padStart(8, '0')
}

function historyFileName(timeline: number): string {
  return `${timelineHex(timeline)}.history`
}
