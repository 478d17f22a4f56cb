import { relation } from './evidence.js'
import type { Findings } from './findings.js'
import type { Operation } from './operation.js'
import type { RuleName } from './rules.js'
import type { Entry, Excuse, Timeline } from './timeline.js'
import type { Version } from './version.js'
import { byOperation, quote } from './words.js'

/**
 * The four guarantees, as far as one key shows them: what a read shows, and what a write replaced. To be called for what is
 * acknowledged, when all that precedes it in its session has been logged.
 */
export function judgeSessionGuarantees(operation: Operation, findings: Findings): void {
  const { session, achieved } = operation
  if (achieved !== 'eventual') {
    for (const shown of operation.reads) {
      const log = session.key(shown.of)
      if (log === undefined) continue
      judge('read-your-writes', log.written, shown, operation, excuseOfReads, findings)
      if (achieved === 'monotonic-reads') judge('monotonic-reads', log.seenMonotonic, shown, operation, excuseOfReads, findings)
    }
  }
  for (const version of operation.writes) {
    const log = session.key(version.of)
    judge('monotonic-writes', log?.written, version, operation, excuseOfWrites, findings)
    judge('writes-follow-reads', log?.seen, version, operation, excuseOfWrites, findings)
  }
}

const excuseOfReads: Excuse = ({ version: { fate }, operation: did }, read) => {
  if (fate === 'kept' || !read.session.wasTold(did.record, read.record)) return 'no'
  return fate === 'lost' ? 'yes' : 'maybe'
}

/** A write shows nothing, so nobody can be told by it: what was lost is left to the rules for reads. */
export const excuseOfWrites: Excuse = ({ version: { fate, of } }) => {
  if (fate === 'lost') return 'yes'
  return fate === 'unknown' && of.final !== undefined ? 'maybe' : 'no'
}

/** Whether `shown`, which the operation read or wrote, includes what its session did before. */
function judge(
  rule: RuleName,
  before: Timeline | undefined,
  shown: Version,
  operation: Operation,
  excuse: Excuse,
  findings: Findings,
): void {
  if (before === undefined) return
  const missing = before.missing(shown, operation, excuse)
  if (missing === 'nothing') findings.holds(rule)
  else if (missing === 'undecided') findings.undecided(rule)
  else if (missing !== 'vacuous') violated(rule, missing, shown, operation, findings)
}

const WORDS: Partial<Record<RuleName, readonly [did: string, did: string, lacks: string]>> = {
  'read-your-writes': ['wrote', 'read', ', which does not include it'],
  'monotonic-reads': ['read', 'read', ', which does not include it'],
  'monotonic-writes': ['wrote', 'wrote', ' upon a version that does not include it'],
  'writes-follow-reads': ['read', 'wrote', ' upon a version that does not include it'],
}

function violated(rule: RuleName, missing: Entry, shown: Version, { record }: Operation, findings: Findings): void {
  findings.violated(rule, () => {
    const { version } = missing
    const { final, finalRecord } = version.of
    // Where there are reports, it matters that this one was not lost.
    const kept = version.fate === 'kept' ? [finalRecord!, ...relation(final!, version)] : []
    const [first, then, lacks] = WORDS[rule]!
    const before = `${byOperation(missing.operation.record)} ${first} ${quote(version.value)}`
    return {
      message: `${before}; operation ${record.id}, which began later, ${then} ${quote(shown.value)}${lacks}`,
      session: record.session,
      key: version.key,
      records: [record, missing.operation.record],
      context: [...relation(shown, version), ...kept],
    }
  })
}
