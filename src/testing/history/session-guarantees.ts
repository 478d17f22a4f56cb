import { relation } from './evidence.js'
import type { Findings } from './findings.js'
import { achievedOf, type History } from './history.js'
import type { OperationRecord } from './record.js'
import type { RuleName } from './rules.js'
import type { Entry, Excuse, Missing } from './timeline.js'
import type { Version } from './version.js'
import { byOperation, quote } from './words.js'

/** The four guarantees, as far as one key shows them: what a read shows, and what a write replaced. */
export function judgeSessionGuarantees(history: History, findings: Findings): void {
  for (const operation of history.operations) {
    if (operation.status !== 'ok') continue
    if (achievedOf(operation) !== 'eventual') judgeReads(history, operation, findings)
    judgeWrites(history, operation, findings)
  }
}

function judgeReads(history: History, operation: OperationRecord, findings: Findings): void {
  const { session, reads = [] } = operation
  const log = history.session(session)
  for (const [key, value] of reads) {
    const shown = history.forest.find(key, value)
    const { written, seenMonotonic } = log.key(key)
    const toldUntil = log.toldUntil(operation)
    const excuse: Excuse = ({ fate, operation: { start } }) => {
      if (fate === 'kept' || start > toldUntil) return 'no'
      return fate === 'lost' ? 'yes' : 'maybe'
    }
    const judge = (rule: RuleName, missing: Missing, did: string) =>
      settle(findings, rule, missing, shown, operation, entry => {
        const what = `operation ${operation.id}, which began later, read ${quote(value)}`
        return `${byOperation(entry.operation)} ${did} ${quote(entry.version.value)}; ${what}, which does not include it`
      })
    judge('read-your-writes', shown && written.missing(shown, operation, excuse), 'wrote')
    if (achievedOf(operation) !== 'monotonic-reads') continue
    judge('monotonic-reads', shown && seenMonotonic.missing(shown, operation, excuse), 'read')
  }
}

function judgeWrites(history: History, operation: OperationRecord, findings: Findings): void {
  for (const [key, value] of operation.writes ?? []) {
    const version = history.forest.find(key, value)!
    const { written, seen } = history.session(operation.session).key(key)
    const excuse = excuseOfWrites(history, key)
    const judge = (rule: RuleName, missing: Missing, did: string) =>
      settle(findings, rule, missing, version, operation, entry => {
        const what = `operation ${operation.id}, which began later, wrote ${quote(value)}`
        return `${byOperation(entry.operation)} ${did} ${quote(entry.version.value)}; ${what} upon a version that does not include it`
      })
    judge('monotonic-writes', written.missing(version, operation, excuse), 'wrote')
    judge('writes-follow-reads', seen.missing(version, operation, excuse), 'read')
  }
}

/** A write shows nothing, so nobody can be told by it: what was lost is left to the rules for reads. */
export function excuseOfWrites({ forest }: History, key: string): Excuse {
  const hasFinal = forest.final(key) !== undefined
  return ({ fate }) => {
    if (fate === 'lost') return 'yes'
    return fate === 'unknown' && hasFinal ? 'maybe' : 'no'
  }
}

function settle(
  findings: Findings,
  rule: RuleName,
  missing: Missing,
  shown: Version | undefined,
  operation: OperationRecord,
  describe: (entry: Entry) => string,
): void {
  if (missing === null) findings.holds(rule)
  else if (missing === undefined) findings.undecided(rule)
  else {
    const { version } = missing
    findings.violated(rule, () => ({
      message: describe(missing),
      session: operation.session,
      key: version.key,
      records: [operation, missing.operation],
      context: relation(shown!, version),
    }))
  }
}
