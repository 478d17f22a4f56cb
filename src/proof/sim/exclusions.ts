/**
 * What is not held against the code, all in one place, each as narrow as can be and with its reason. (That devices are on their
 * own where a store fails to take positions is in `SimWorld.joinsDevices`; that a report is never lost, in `requests.ts`.)
 */
import type { OperationRecord } from '../../testing/history/record.js'
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
 * What a transaction reads on the primary is not fenced: it shows what the primary has, and has no outcome. A write that was cut
 * off is missing there before the session's next read tells of the loss.
 */
export function isOfTransaction({ rule, records }: Violation, truth: Truth): boolean {
  if (rule !== 'read-your-writes' && rule !== 'monotonic-reads') return false
  const [read, earlier] = records as readonly OperationRecord[]
  const seen = [...(earlier?.writes ?? []), ...(earlier?.reads ?? [])]
  return read?.path === 'transaction' && seen.some(([key, value]) => value !== null && !truth.isKept(key, value))
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
 * what a log has lost that its token had no room for. Only what was lost is meant here, and only where there are more logs.
 */
export function isBeyondToken({ rule, records }: Violation, truth: Truth, logs: number): boolean {
  if (logs <= LOGS_IN_A_TOKEN) return false
  if (rule !== 'read-your-writes' && rule !== 'monotonic-reads' && rule !== 'lost-writes-reported') return false
  const [first, second] = records as readonly OperationRecord[]
  const earlier = rule === 'lost-writes-reported' ? first : second
  const seen = [...(earlier?.writes ?? []), ...(earlier?.reads ?? [])]
  return seen.some(([key, value]) => value !== null && !truth.isKept(key, value))
}

const LOGS_IN_A_TOKEN = 3

/**
 * Peers apply each log by itself, so the order of writes to different logs is nobody's promise: a leaderless cluster gives the two
 * guarantees that are about reads.
 */
export function rulesOf({ topology }: World): readonly RuleName[] {
  if (topology === 'physical') return RULE_NAMES
  return RULE_NAMES.filter(rule => rule !== 'monotonic-writes' && rule !== 'writes-follow-reads')
}
