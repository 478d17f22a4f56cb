/**
 * What is not held against the code, all in one place, each as narrow as can be and with its reason. (That devices are on their
 * own where a store fails to take positions is in `SimWorld.joinsDevices`; that a report is never lost, in `requests.ts`.)
 */

import { MAX_OFFSET, Position } from '../../core/position.js'
import { BINDING_BYTES, KEY_ID_BYTES, layOut, readLayout } from '../../core/token/layout.js'
import type { OperationRecord, WrittenValue } from '../../testing/history/record.js'
import type { Violation } from '../../testing/history/report.js'
import { RULE_NAMES, type RuleName } from '../../testing/history/rules.js'
import type { Noted } from './recorder.js'
import type { World } from './schedule.js'
import type { SilentLosses } from './silent-losses.js'
import type { Truth } from './truth.js'

/**
 * Operations as they oblige: a commit that was lost and cannot be told apart ({@link SilentLosses}) is as good as one that was
 * never answered, and whoever has seen it may see it no longer. Nothing else of these operations changes.
 */
export function excludeSilentLosses(operations: readonly Noted[], losses: SilentLosses): readonly Noted[] {
  if (losses.size === 0) return operations
  return operations.map(noted => {
    const lostWrite = noted.writes?.some(([key, value]) => losses.has(key, value)) === true
    const lostRead = noted.reads?.some(([key, value]) => losses.has(key, value)) === true
    if (!lostWrite && !lostRead) return noted
    const kept = { ...noted }
    if (lostRead) kept.reads = noted.reads!.filter(([key, value]) => !losses.has(key, value))
    if (lostWrite) kept.status = 'unknown'
    return kept
  })
}

/**
 * Where two servers were promoted, or the old primary went on, a router may come from the one history to the other. A write that
 * was cut off in the first, of which its session was told, is there again in the second, and is kept in the end. The checker
 * takes for lost only what is not kept; but between the report and the second history nobody could show the write. Likewise of a
 * leaderless cluster: what a peer that cannot be asked has written is told to be possibly lost, and is there again with it.
 */
export function isToldMeanwhile({ rule, records }: Violation, operations: readonly Noted[], rivals: boolean): boolean {
  if (!rivals || (rule !== 'read-your-writes' && rule !== 'monotonic-reads')) return false
  const [read, earlier] = records as readonly OperationRecord[]
  if (read === undefined || earlier === undefined) return false
  return operations.some(
    ({ session, reportsLoss, start, end }) =>
      reportsLoss === true && session === read.session && start <= read.end! && end !== undefined && earlier.start <= end,
  )
}

/**
 * What a transaction reads has no outcome: it shows what the primary has, or a peer that has all that is not lost. A write that was
 * cut off, or left with its peer, is missing there before the session's next read tells of the loss; which is expected of a session
 * that goes on, when the write is there again in the end (see {@link isToldMeanwhile}). If the peer is back before that read, nothing
 * is lost any more and there is nothing to tell: then only what was out of reach while the transaction ran is meant.
 */
export function isOfTransaction(
  { rule, records }: Violation,
  truth: Truth,
  operations: readonly Noted[],
  rivals: boolean,
): boolean {
  if (rule !== 'read-your-writes' && rule !== 'monotonic-reads') return false
  const [read, earlier] = records as readonly OperationRecord[]
  if (read?.path !== 'transaction' || earlier === undefined) return false
  if (seenIn(earlier).some(([key, value]) => !truth.isKept(key, value))) return true
  const outOfReach = operations.find(({ id }) => id === read.id)?.outOfReach ?? []
  if (lacksOnly(outOfReach, read, earlier, truth)) return true
  return (
    rivals &&
    operations.some(({ session, reportsLoss, end = 0 }) => reportsLoss && session === read.session && earlier.start <= end)
  )
}

/**
 * An answer that was lost on its way obliges to nothing, so the history does not have what it read; but the author's own cache has it,
 * and may show it to the author from then on. (`judgeOwnCaches` holds caches of known users against all that was read for them.)
 */
export function isUnheard({ rule, records }: Violation, operations: readonly Noted[]): boolean {
  const [read] = records as readonly OperationRecord[]
  if (rule !== 'own-cache-isolated' || read?.reads === undefined) return false
  const shown = new Set(read.reads.map(([, value]) => value))
  return operations.some(
    ({ session, start, unheard = [] }) =>
      session === read.session && start <= read.end! && unheard.some(([, value]) => value !== null && shown.has(value)),
  )
}

/**
 * Writes follow reads and monotonic writes are judged by where a write took effect. Where two histories were written at a time,
 * one that took effect in the other was cut off with it in the end, and what it did not include is kept: it is held against the
 * rules for lost writes instead. Without rivals no write is kept that a later one, on the same line, could lack.
 */
export function isOfLostWrite({ rule, records }: Violation, truth: Truth, rivals: boolean): boolean {
  if (!rivals || (rule !== 'writes-follow-reads' && rule !== 'monotonic-writes')) return false
  // The later write itself, or who shows it, and then the write.
  const [first, second] = records as readonly OperationRecord[]
  const later = records.length > 2 ? second : first
  return later?.writes?.some(([key, value]) => !truth.isKept(key, value)) === true
}

/**
 * A token holds so many logs, and says "uncertain" beyond that: the session is settled by what all peers have, and is not told of
 * what a log has lost that its token had no room for. Only what was lost is meant here, or had left with a peer whose log the others
 * had not got yet (who takes out such a peer takes its writes out), and only where the codec itself finds no room.
 */
export function isBeyondToken({ rule, records }: Violation, truth: Truth, { logs, departed }: LogsOfWorld): boolean {
  if (rule !== 'read-your-writes' && rule !== 'monotonic-reads' && rule !== 'lost-writes-reported') return false
  const [first, second] = records as readonly OperationRecord[]
  const earlier = rule === 'lost-writes-reported' ? first : second
  if (earlier === undefined || fitsToken(logs, earlier.asked === 'monotonic-reads')) return false
  return isGone(earlier, truth, departed)
}

/**
 * The same of a write that is kept, and was in the log of a peer that has left for a while. `monotonic`: the reader's token also
 * says what was read, which takes as much room again.
 */
export function hasLeftBeyondToken(register: string, monotonic: boolean, { logs, departed }: LogsOfWorld): boolean {
  return departed.has(peerOf(register)) && !fitsToken(logs, monotonic)
}

/**
 * An invalidation lets go of what is lost of those before it, as sessions do: no value would ever include it again, and the key could
 * not be cached any more. Lost is what no peer has that the router knows of, or what the primary's history lacks. But a peer that was
 * taken out with it may come back, or a server be promoted that went on with the other of two histories: then the write is there
 * again, and is kept in the end, and what was read meanwhile without it has entered the cache. Only what was not to be had by the very router
 * that set a tombstone after it: `tombstones` are what its peers showed then, or its primary, each time.
 */
export function isLetGo([register, value]: WrittenValue, tombstones: readonly Tombstone[], truth: Truth): boolean {
  return tombstones.some(servers => servers.every(shown => !truth.includes(register, shown.get(register) ?? null, value)))
}

/** What each of some servers showed, of all registers; of at least one. */
export type Tombstone = readonly [ReadonlyMap<string, string>, ...ReadonlyMap<string, string>[]]

/** What a leaderless world has had so far; of one with a primary, nothing. */
export interface LogsOfWorld {
  readonly logs: readonly string[]
  /** Peers that have left, for a while at least. */
  readonly departed: ReadonlySet<string>
}

/** Whether a token that is bound to a user has room for positions in all of these. */
export function fitsToken(logs: readonly string[], monotonic: boolean): boolean {
  const all = Position.of(logs.map(lineage => ({ lineage, offset: MAX_OFFSET - 1n })))
  const history = { writes: all, reads: monotonic ? all : Position.zero, uncertain: false }
  const [keyId, binding] = [new Uint8Array(KEY_ID_BYTES), new Uint8Array(BINDING_BYTES)]
  return !readLayout(layOut({ history, issuedAt: 0, keyId, binding })).history.uncertain
}

/** Whether something of it is not part of the end, or was in the log of a peer that was taken out meanwhile. */
function isGone(operation: Pick<OperationRecord, 'reads' | 'writes'>, truth: Truth, departed: ReadonlySet<string>): boolean {
  return seenIn(operation).some(([key, value]) => !truth.isKept(key, value) || departed.has(peerOf(key)))
}

/** Whether of what was seen earlier the read lacks something, and nothing but these values. */
function lacksOnly(
  values: readonly string[],
  { reads = [] }: Pick<OperationRecord, 'reads'>,
  earlier: Pick<OperationRecord, 'reads' | 'writes'>,
  truth: Truth,
): boolean {
  const shown = new Map(reads)
  const lacking = seenIn(earlier).filter(([key, value]) => shown.has(key) && !truth.includes(key, shown.get(key) ?? null, value))
  return lacking.length > 0 && lacking.every(([, value]) => values.includes(value))
}

function seenIn({ reads = [], writes = [] }: Pick<OperationRecord, 'reads' | 'writes'>): readonly (readonly [string, string])[] {
  return [...writes, ...reads].flatMap(([key, value]) => (value === null ? [] : [[key, value] as const]))
}

/** `k1@db-2.1`: of the first log of `db-2`. */
function peerOf(register: string): string {
  return register.slice(register.indexOf('@') + 1, register.lastIndexOf('.'))
}

/**
 * A peer that is taken out before others have its log takes its writes along (ARCHITECTURE.md, under *Proof*). A session that holds the
 * position of such a write is told that it may be lost, and lets go of it: so does one that was in doubt of it and has been settled since.
 * One that is uncertain holds none: it is settled by what those peers have that its router knows, and a write that none of them has is
 * in nobody's answer, nor can anybody say that it was ever there. Either may read without it from then on, and it is there again when its
 * peer comes back. Only an operation is meant that settles the session or tells it, and only what was out of reach while it ran.
 */
export function isLeftBehind(value: string, by: readonly Noted[]): boolean {
  return by.some(
    ({ settles, reportsLoss, outOfReach }) => (settles === true || reportsLoss === true) && outOfReach?.includes(value) === true,
  )
}

/** The same of what is in doubt, as a transaction shows it: see {@link isOfTransaction}. */
export function isMissedByTransaction(value: string, { path, outOfReach }: Noted): boolean {
  return path === 'transaction' && outOfReach?.includes(value) === true
}

/**
 * Where two histories were written at a time: a router that has asked for the newer one in vain goes on in the older, and what that one
 * shows lacks what is in doubt in the newer, and is kept in the end. A read there says that it may be lost, and so the device has been
 * told. A transaction has no outcome to say it in; but it has written, and what it wrote was cut off with that history. (Whether its
 * router could have known better, `newest-primary` judges.)
 */
export function isInDoubtElsewhere(
  read: Noted,
  doubted: Noted,
  operations: readonly Noted[],
  truth: Truth,
  rivals: boolean,
): boolean {
  if (!rivals) return false
  if (read.path === 'transaction' && read.writes?.some(([key, value]) => !truth.isKept(key, value)) === true) return true
  return operations.some(each => each.reportsLoss === true && comesBetween(each, doubted, read))
}

/** Whether an operation of the device came between its doubt and what it reads now, and the device has heard of it; or is that read. */
export function comesBetween({ device, start, end }: Noted, doubted: Noted, read: Noted): boolean {
  return device === doubted.device && start >= doubted.end! && start <= read.start && end !== undefined
}

/**
 * A commit that was still under way when its connection broke: no look at the primary tells of what is not there yet, nor does any
 * position. Whoever had been answered, had the answer arrived, is to be shown what became of it.
 */
export function isUnderWay({ key, value }: { readonly key: string; readonly value: string }, by: Noted, truth: Truth): boolean {
  return !(truth.shownAt(key, value) <= by.end!)
}

/**
 * Peers apply each log by itself, so the order of writes to different logs is nobody's promise: a leaderless cluster gives the two
 * guarantees that are about reads.
 */
export function rulesOf({ topology }: World): readonly RuleName[] {
  if (topology === 'physical') return RULE_NAMES
  return RULE_NAMES.filter(rule => rule !== 'monotonic-writes' && rule !== 'writes-follow-reads')
}
