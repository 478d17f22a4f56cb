import { recordsOf } from './evidence.js'
import type { Findings } from './findings.js'
import type { History } from './history.js'
import type { HistoryRecord, OperationRecord } from './record.js'
import type { RuleName } from './rules.js'
import type { Version } from './version.js'
import { byOperation, quote } from './words.js'

/** What a read may show at all, whatever its guarantee; and what an author's own cache may. */
export function judgeIsolation(history: History, findings: Findings): void {
  for (const version of history.forest.versions()) judgeDeclared(version, findings)
  const seenAt = findings.judges('own-cache-isolated') ? firstSeen(history) : new Map()
  for (const read of history.operations) {
    if (read.status !== 'ok') continue
    for (const [key, value] of read.reads ?? []) {
      const version = history.forest.find(key, value)!
      if (value !== null) judgeValue(history, read, key, value, version, findings)
      if (read.fromOwnCache === true) judgeOwnCache(read, key, value, version, seenAt, findings)
    }
  }
}

function judgeDeclared({ writer, declaration, key, value }: Version, findings: Findings): void {
  if (writer?.status !== 'failed' || declaration === undefined) return
  findings.violated('failed-writes-invisible', () => ({
    message: `${byOperation(writer)} failed to write ${quote(value)}, and yet it is a version of ${key}`,
    session: writer.session,
    key,
    records: [writer, declaration],
    context: [],
  }))
}

function judgeValue(
  history: History,
  read: OperationRecord,
  key: string,
  value: string,
  version: Version | undefined,
  findings: Findings,
): void {
  const violated = (rule: RuleName, why: string, ...others: HistoryRecord[]) =>
    findings.violated(rule, () => ({
      message: `${byOperation(read)} read ${quote(value)} of ${key}, ${why}`,
      session: read.session,
      key,
      records: [read, ...others],
      context: [],
    }))
  if (version === undefined || recordsOf(version).length === 0) {
    const other = history.forest.writtenTo(value)
    if (other === undefined) violated('no-value-from-nowhere', 'which nobody wrote')
    else violated('no-value-of-another-key', `which was written to ${other.key}`, other.writer!)
    return
  }
  findings.holds('no-value-from-nowhere')
  findings.holds('no-value-of-another-key')
  const { writer } = version
  if (writer === undefined) return
  if (writer.status === 'failed') violated('failed-writes-invisible', `which operation ${writer.id} failed to write`, writer)
  else findings.holds('failed-writes-invisible')
  if (writer.start > read.end!) violated('no-read-from-the-future', `which operation ${writer.id} began to write later`, writer)
  else findings.holds('no-read-from-the-future')
}

function judgeOwnCache(
  read: OperationRecord,
  key: string,
  value: string | null,
  version: Version | undefined,
  seenAt: ReadonlyMap<string, number>,
  findings: Findings,
): void {
  const rule = 'own-cache-isolated'
  const wroteIt = version?.writer?.session === read.session
  if (wroteIt || seenAt.get(sightOf(read.session, key, value))! <= read.end!) {
    findings.holds(rule)
    return
  }
  findings.violated(rule, () => ({
    message: `${byOperation(read)} read ${quote(value)} of ${key} from its own cache, and had neither written nor read it`,
    session: read.session,
    key,
    records: [read],
    context: [],
  }))
}

/** When the sessions first read, from elsewhere, what their caches showed and they had not written. */
function firstSeen({ operations, forest }: History): Map<string, number> {
  const seenAt = new Map<string, number>()
  const sights = function* (fromOwnCache: boolean) {
    for (const { status, session, start, reads = [], fromOwnCache: cached = false } of operations) {
      if (status !== 'ok' || cached !== fromOwnCache) continue
      for (const [key, value] of reads) yield { session, start, key, value }
    }
  }
  for (const { session, key, value } of sights(true)) {
    if (forest.find(key, value)?.writer?.session !== session) seenAt.set(sightOf(session, key, value), Number.POSITIVE_INFINITY)
  }
  if (seenAt.size === 0) return seenAt
  for (const { session, start, key, value } of sights(false)) {
    const sight = sightOf(session, key, value)
    const earliest = seenAt.get(sight)
    if (earliest !== undefined && start < earliest) seenAt.set(sight, start)
  }
  return seenAt
}

function sightOf(session: string, key: string, value: string | null): string {
  return JSON.stringify([session, key, value])
}
