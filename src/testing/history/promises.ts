import { relation } from './evidence.js'
import type { Findings } from './findings.js'
import { achievedOf, askedOf, type History, timeOf } from './history.js'
import type { AskedGuarantee, OperationRecord } from './record.js'
import type { LostWrites } from './report.js'
import type { KeyLog, SessionLog } from './session-log.js'
import { type Entry, precedes } from './timeline.js'
import { byOperation, quote } from './words.js'

const STRENGTH: Readonly<Record<AskedGuarantee, number>> = { eventual: 0, 'read-your-writes': 1, 'monotonic-reads': 2 }

/** What an answer says of itself, when it comes, and what is told of losses. */
export function judgePromises(history: History, findings: Findings): void {
  for (const operation of history.operations) {
    if (operation.status === 'ok' && operation.reads?.length) judgeDowngrade(operation, findings)
    if (operation.deadlineMs !== undefined) judgeDeadline(operation, operation.deadlineMs, history, findings)
  }
  for (const gauge of history.gauges) {
    const { name, value, bound } = gauge
    if (value <= bound) findings.holds('bounds-kept')
    else
      findings.violated('bounds-kept', () => ({
        message: `${name} reached ${value}; its bound is ${bound}`,
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
    const took = end === undefined ? 'was not answered' : `took ${end - start} ms`
    findings.violated(rule, () => ({
      message: `operation ${id} of session ${JSON.stringify(session)} ${took}; its deadline was ${deadlineMs} ms`,
      session,
      records: end === undefined ? [operation, latest] : [operation],
      context: [],
    }))
  } else if (end === undefined) findings.undecided(rule)
  else findings.holds(rule)
}

interface LostWrite {
  readonly session: SessionLog
  readonly log: KeyLog
  readonly entry: Entry
}

function* lostWrites({ sessions }: History): Iterable<LostWrite> {
  for (const session of sessions.values()) {
    for (const log of session.keys.values()) {
      for (const entry of log.written) if (entry.fate === 'lost') yield { session, log, entry }
    }
  }
}

function wasTold({ session, entry }: LostWrite): boolean {
  return entry.operation.start <= session.toldUntil()
}

/** Whether the session read the key again and saw what has survived, which is not what it wrote. */
function lookedAgain({ log, entry }: LostWrite): boolean {
  return log.keptRead !== undefined && precedes(entry.operation, log.keptRead)
}

function judgeLostWrites(history: History, findings: Findings): void {
  for (const lost of lostWrites(history)) {
    if (wasTold(lost)) findings.holds('lost-writes-reported')
    if (wasTold(lost) || !lookedAgain(lost)) continue
    const { version, operation } = lost.entry
    findings.violated('lost-writes-reported', () => {
      const { forest } = history
      const final = forest.final(version.key)!
      const read = lost.log.keptRead!
      const looked = `operation ${read.id} of that session read ${version.key} again`
      return {
        message: `${byOperation(operation)} wrote ${quote(version.value)}, which was lost; ${looked}, and the session was never told`,
        session: operation.session,
        key: version.key,
        records: [operation, read, forest.finalRecord(version.key)!],
        context: [
          ...relation(final, version),
          ...(read.reads ?? []).flatMap(([key, value]) => {
            const shown = key === version.key ? forest.find(key, value) : undefined
            return shown === undefined ? [] : relation(shown, final)
          }),
        ],
      }
    })
  }
}

export function countLostWrites(history: History): LostWrites {
  const counts = { total: 0, reported: 0, unreported: 0 }
  for (const lost of lostWrites(history)) {
    counts.total++
    if (wasTold(lost)) counts.reported++
    else if (lookedAgain(lost)) counts.unreported++
  }
  return counts
}
