import type { Findings } from './findings.js'
import type { History } from './history.js'
import type { Operation } from './operation.js'
import type { HistoryRecord } from './record.js'
import type { RuleName } from './rules.js'
import type { SessionLog } from './session-log.js'
import type { Version } from './version.js'
import { byOperation, quote } from './words.js'

/** What a read may show at all, whatever its guarantee; and what an author's own cache may. */
export class Isolation {
  readonly #history: History
  readonly #seenAt: Sights

  constructor(history: History) {
    this.#history = history
    this.#seenAt = firstSeen(history)
  }

  judge(read: Operation, findings: Findings): void {
    for (const version of read.reads) {
      if (version.value !== null) judgeValue(this.#history, read, version, findings)
      if (read.fromOwnCache) judgeOwnCache(read, version, this.#seenAt, findings)
    }
  }
}

/** What failed is no version of anything. */
export function judgeDeclarations({ keys }: History, findings: Findings): void {
  for (const key of keys.values()) {
    for (const version of key.versions()) if (version.declaration !== undefined) judgeDeclared(version, findings)
  }
}

function judgeDeclared(version: Version, findings: Findings): void {
  const { writer, declaration, key, value } = version
  if (writer?.record.status !== 'failed' || declaration === undefined) return
  findings.violated('failed-writes-invisible', () => ({
    message: `${byOperation(writer.record)} failed to write ${quote(value)}, and yet it is a version of ${quote(key)}`,
    session: writer.record.session,
    key,
    records: [writer.record, declaration],
    context: [],
  }))
}

function judgeValue(history: History, read: Operation, version: Version, findings: Findings): void {
  const { writer } = version
  if (writer === undefined && version.declaration === undefined) {
    const other = history.writtenTo(version.value!)
    if (other === undefined) violated('no-value-from-nowhere', read, version, 'which nobody wrote', [], findings)
    else {
      const why = `which was written to ${quote(other.key)}`
      violated('no-value-of-another-key', read, version, why, [other.writer!.record], findings)
    }
    return
  }
  findings.holds('no-value-from-nowhere')
  findings.holds('no-value-of-another-key')
  if (writer === undefined) return
  const { record } = writer
  if (writer.acknowledged || record.status !== 'failed') findings.holds('failed-writes-invisible')
  else violated('failed-writes-invisible', read, version, `which operation ${record.id} failed to write`, [record], findings)
  if (writer.start <= read.end) findings.holds('no-read-from-the-future')
  else violated('no-read-from-the-future', read, version, `which operation ${record.id} began to write later`, [record], findings)
}

function judgeOwnCache(read: Operation, version: Version, seenAt: Sights, findings: Findings): void {
  const wroteIt = version.writer?.session === read.session
  if (wroteIt || seenAt.get(read.session)!.get(version)! <= read.end) findings.holds('own-cache-isolated')
  else violated('own-cache-isolated', read, version, 'from its own cache, and had neither written nor read it', [], findings)
}

function violated(
  rule: RuleName,
  { record }: Operation,
  { key, value }: Version,
  why: string,
  others: readonly HistoryRecord[],
  findings: Findings,
): void {
  findings.violated(rule, () => ({
    message: `${byOperation(record)} read ${quote(value)} of ${quote(key)}, ${why}`,
    session: record.session,
    key,
    records: [record, ...others],
    context: [],
  }))
}

/** Of each session, when it first read, from elsewhere, what its cache showed and it had not written. */
type Sights = ReadonlyMap<SessionLog, Map<Version, number>>

function firstSeen({ operations }: History): Sights {
  const seenAt = new Map<SessionLog, Map<Version, number>>()
  for (const { acknowledged, fromOwnCache, session, reads } of operations) {
    if (!acknowledged || !fromOwnCache) continue
    if (!seenAt.has(session)) seenAt.set(session, new Map())
    for (const version of reads) seenAt.get(session)!.set(version, Number.POSITIVE_INFINITY)
  }
  if (seenAt.size === 0) return seenAt
  for (const { acknowledged, fromOwnCache, session, start, reads } of operations) {
    const sights = acknowledged && !fromOwnCache ? seenAt.get(session) : undefined
    if (sights === undefined) continue
    for (const version of reads) {
      const earliest = sights.get(version)
      if (earliest !== undefined && start < earliest) sights.set(version, start)
    }
  }
  return seenAt
}
