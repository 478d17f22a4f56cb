import { relation } from './evidence.js'
import type { Finding, Findings } from './findings.js'
import type { History } from './history.js'
import { type Operation, precedes } from './operation.js'
import type { AskedGuarantee } from './record.js'
import type { Version } from './version.js'
import { byOperation, quote, time } from './words.js'

const STRENGTH: Readonly<Record<AskedGuarantee, number>> = { eventual: 0, 'read-your-writes': 1, 'monotonic-reads': 2 }

/** What an answer says of itself, and when it comes. */
export function judgePromises(operation: Operation, history: History, findings: Findings): void {
  if (operation.acknowledged && operation.reads.length > 0) judgeDowngrade(operation, findings)
  if (operation.deadlineMs !== undefined) judgeDeadline(operation, operation.deadlineMs, history, findings)
}

function judgeDowngrade({ asked, achieved, record }: Operation, findings: Findings): void {
  const rule = 'no-silent-downgrade'
  if (STRENGTH[achieved] >= STRENGTH[asked] || record.mayDegrade === true) findings.holds(rule)
  else {
    findings.violated(rule, () => ({
      message: `${byOperation(record)} asked for ${asked} and was given ${achieved}, which the caller had not allowed`,
      session: record.session,
      records: [record],
      context: [],
    }))
  }
}

function judgeDeadline({ record }: Operation, deadlineMs: number, { latest, latestTime }: History, findings: Findings): void {
  const rule = 'deadlines-kept'
  const { id, start, end, session } = record
  // Without an answer, the history must go on for long enough to tell.
  if ((end ?? latestTime) - start > deadlineMs) {
    const took = end === undefined ? 'was not answered' : `took ${time(end - start)} ms`
    findings.violated(rule, () => ({
      message: `operation ${id} of session ${quote(session)} ${took}; its deadline was ${deadlineMs} ms`,
      session,
      records: end === undefined ? [record, latest!] : [record],
      context: [],
    }))
  } else if (end === undefined) findings.undecided(rule)
  else findings.holds(rule)
}

export function judgeBounds({ gauges }: History, findings: Findings): void {
  for (const gauge of gauges) {
    const { name, value, bound } = gauge
    if (value <= bound) findings.holds('bounds-kept')
    else
      findings.violated('bounds-kept', () => ({
        message: `${quote(name)} reached ${value}; its bound is ${bound}`,
        records: [gauge],
        context: [],
      }))
  }
}

/** The read by which the session saw what has survived of the key, which is not what it wrote. */
function readAgain({ of }: Version, write: Operation): Operation | undefined {
  const read = write.session.key(of)?.keptRead
  return read !== undefined && precedes(write, read) ? read : undefined
}

/** What is told of acknowledged writes that the final value does not include. */
export function judgeLostWrites(write: Operation, findings: Findings): void {
  for (const version of write.writes) {
    if (version.fate !== 'lost') continue
    const { lostWrites } = findings
    lostWrites.total++
    const read = readAgain(version, write)
    if (write.session.wasTold(write.record)) {
      lostWrites.reported++
      findings.holds('lost-writes-reported')
    } else if (read !== undefined) {
      lostWrites.unreported++
      findings.violated('lost-writes-reported', () => violationOf(version, write, read))
    }
  }
}

function violationOf(lost: Version, { record }: Operation, read: Operation): Omit<Finding, 'rule'> {
  const final = lost.of.final!
  const looked = `operation ${read.record.id} of that session read ${quote(lost.key)} again`
  return {
    message: `${byOperation(record)} wrote ${quote(lost.value)}, which was lost; ${looked}, and the session was never told`,
    session: record.session,
    key: lost.key,
    records: [record, read.record, lost.of.finalRecord!],
    context: [
      ...relation(final, lost),
      ...read.reads.filter(({ of }) => of === lost.of).flatMap(version => relation(version, final)),
    ],
  }
}
