/**
 * What is not held against the code, all in one place, each as narrow as can be and with its reason. (That devices are on their
 * own where a store fails to take positions is in `SimWorld.joinsDevices`; that a report is never lost, in `requests.ts`.)
 */
import type { OperationRecord } from '../../testing/history/record.js'
import type { Violation } from '../../testing/history/report.js'
import type { Noted } from './recorder.js'
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
 * Writes follow reads and monotonic writes are judged by where a write took effect. One that was cut off with an old primary
 * took effect nowhere in the end: it is held against the rules for lost writes instead.
 */
export function isOfLostWrite({ rule, records: [about] }: Violation, truth: Truth): boolean {
  if (rule !== 'writes-follow-reads' && rule !== 'monotonic-writes') return false
  const writes = (about as OperationRecord | undefined)?.writes
  return writes?.some(([key, value]) => !truth.isKept(key, value)) === true
}
