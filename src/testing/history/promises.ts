import { relation } from './evidence.js'
import type { Finding, Findings } from './findings.js'
import { achievedOf, askedOf } from './guarantee.js'
import { type History, timeOf } from './history.js'
import type { Operation } from './operation.js'
import type { AskedGuarantee, OperationRecord } from './record.js'
import type { LostWrites } from './report.js'
import { precedes } from './timeline.js'
import type { Version } from './version.js'
import { byOperation, quote, time } from './words.js'

const STRENGTH: Readonly<Record<AskedGuarantee, number>> = { eventual: 0, 'read-your-writes': 1, 'monotonic-reads': 2 }

/** What an answer says of itself, when it comes, and what is told of losses. */
export function judgePromises(history: History, findings: Findings): void {
  for (const { record: operation } of history.operations) {
    if (operation.status === 'ok' && operation.reads?.length) judgeDowngrade(operation, findings)
    if (operation.deadlineMs !== undefined) judgeDeadline(operation, operation.deadlineMs, history, findings)
  }
  for (const gauge of history.gauges) {
    const { name, value, bound } = gauge
    if (value <= bound) findings.holds('bounds-kept')
    else
      findings.violated('bounds-kept', () => ({
        message: `${quote(name)} reached ${value}; its bound is ${bound}`,
        records: [gauge],
        context: [],
      }))
  }
  judgeLostWrites(history, findings)
}

function judgeDowngrade(operation: OperationRecord, findings: Findings): void {
  const rule = 'no-silent-downgrade'
  const asked = askedOf(operation)
  const achieved = achievedOf(operation)
  if (operation.mayDegrade === true || STRENGTH[achieved] >= STRENGTH[asked]) findings.holds(rule)
  else {
    findings.violated(rule, () => ({
      message: `${byOperation(operation)} asked for ${asked} and was given ${achieved}, which the caller had not allowed`,
      session: operation.session,
      records: [operation],
      context: [],
    }))
  }
}

function judgeDeadline(operation: OperationRecord, deadlineMs: number, history: History, findings: Findings): void {
  const rule = 'deadlines-kept'
  const { id, start, end, session } = operation
  // Without an answer, the history must go on for long enough to tell.
  const latest = history.latest
  if ((end ?? timeOf(latest)) - start > deadlineMs) {
    const took = end === undefined ? 'was not answered' : `took ${time(end - start)} ms`
    findings.violated(rule, () => ({
      message: `operation ${id} of session ${quote(session)} ${took}; its deadline was ${deadlineMs} ms`,
      session,
      records: end === undefined ? [operation, latest] : [operation],
      context: [],
    }))
  } else if (end === undefined) findings.undecided(rule)
  else findings.holds(rule)
}

/** Acknowledged writes that the final value does not include. */
function lostWrites({ operations }: History): Version[] {
  return operations.flatMap(({ record, writes }) => (record.status === 'ok' ? writes.filter(({ fate }) => fate === 'lost') : []))
}

function wasTold({ writer }: Version): boolean {
  return writer!.session.wasTold(writer!.record)
}

/** The read by which the session saw what has survived of the key, which is not what it wrote. */
function readAgain({ of, writer }: Version): Operation | undefined {
  const read = writer!.session.key(of)?.keptRead
  return read !== undefined && precedes(writer!.record, read.record) ? read : undefined
}

function judgeLostWrites(history: History, findings: Findings): void {
  for (const lost of lostWrites(history)) {
    const read = readAgain(lost)
    if (wasTold(lost)) findings.holds('lost-writes-reported')
    else if (read !== undefined) {
      findings.violated('lost-writes-reported', () => violationOf(lost, lost.writer!, read))
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

export function countLostWrites(history: History): LostWrites {
  const counts = { total: 0, reported: 0, unreported: 0 }
  for (const lost of lostWrites(history)) {
    counts.total++
    if (wasTold(lost)) counts.reported++
    else if (readAgain(lost) !== undefined) counts.unreported++
  }
  return counts
}
