import { recordsOf, relation } from './evidence.js'
import type { Findings } from './findings.js'
import type { History } from './history.js'
import type { OperationRecord } from './record.js'
import type { RuleName } from './rules.js'
import { excuseOfWrites } from './session-guarantees.js'
import type { Timeline } from './timeline.js'
import { includes, type Version } from './version.js'
import { byOperation, quote } from './words.js'

/** How many versions above the one that a snapshot shows are asked what came before them. */
const MAX_ANCESTORS = 16
/** How many such questions one snapshot may raise. */
const MAX_QUESTIONS = 1_024

/**
 * What snapshots of several keys show: writes that take effect together, and, across keys, monotonic writes and writes that follow
 * reads. A snapshot that shows a write must show on its other keys what the write's session had written, or read, before.
 */
export function judgeSnapshots(history: History, findings: Findings): void {
  for (const operation of history.operations) {
    if (operation.status === 'ok' && (operation.reads?.length ?? 0) > 1) new Snapshot(history, operation, findings).judge()
  }
}

class Snapshot {
  readonly #history: History
  readonly #read: OperationRecord
  readonly #findings: Findings
  /** The version that it shows of each key; of a key that was read twice, the later one. */
  readonly #shown = new Map<string, Version>()
  #questions = 0

  constructor(history: History, read: OperationRecord, findings: Findings) {
    this.#history = history
    this.#read = read
    this.#findings = findings
    for (const [key, value] of read.reads!) {
      const version = history.forest.find(key, value)
      if (version !== undefined) this.#shown.set(key, version)
    }
  }

  judge(): void {
    for (const shown of this.#shown.values()) {
      let effect: Version | undefined = shown
      for (let above = 0; above < MAX_ANCESTORS && effect !== undefined; above++) {
        this.#judgeEffect(effect)
        effect = effect.parent
      }
    }
  }

  /** `effect` is included in what the snapshot shows, so what its writer had done before must be as well. */
  #judgeEffect(effect: Version): void {
    const { writer } = effect
    if (writer === undefined || writer === this.#read) return
    this.#judgeTogether(effect, writer)
    const { keys } = this.#history.session(writer.session)
    for (const [key, shown] of this.#shown) {
      const log = keys.get(key)
      if (key === effect.key || log === undefined) continue
      if (++this.#questions > MAX_QUESTIONS) return
      this.#judgeBefore('monotonic-writes', log.written, shown, effect, writer)
      this.#judgeBefore('writes-follow-reads', log.seen, shown, effect, writer)
    }
  }

  #judgeTogether(effect: Version, writer: OperationRecord): void {
    const last = new Map((writer.writes ?? []).map(([key, value]) => [key, value]))
    if (last.size < 2 || last.get(effect.key) !== effect.value) return
    for (const [key, shown] of this.#shown) {
      const value = last.get(key)
      if (key === effect.key || value === undefined) continue
      const together = this.#history.forest.find(key, value)!
      const included = includes(shown, together)
      const rule = 'atomic-visibility'
      if (included === true) this.#findings.holds(rule)
      else if (included === undefined) this.#findings.undecided(rule)
      else {
        const wrote = `${quote(effect.value)} to ${effect.key} and ${quote(value)} to ${key}`
        this.#violated(rule, `${byOperation(writer)} wrote ${wrote} together`, effect, writer, together, writer)
      }
    }
  }

  #judgeBefore(rule: RuleName, before: Timeline, shown: Version, effect: Version, writer: OperationRecord): void {
    const missing = before.missing(shown, writer, excuseOfWrites(this.#history, shown.key))
    if (missing === null) this.#findings.holds(rule)
    else if (missing === undefined) this.#findings.undecided(rule)
    else {
      const did = rule === 'monotonic-writes' ? 'wrote' : 'read'
      const first = `${byOperation(missing.operation)} ${did} ${quote(missing.version.value)} of ${shown.key}`
      const then = `operation ${writer.id}, which began later, wrote ${quote(effect.value)} to ${effect.key}`
      this.#violated(rule, `${first}; ${then}`, effect, writer, missing.version, missing.operation)
    }
  }

  #violated(
    rule: RuleName,
    happened: string,
    effect: Version,
    writer: OperationRecord,
    lacks: Version,
    because: OperationRecord,
  ): void {
    const shown = this.#shown.get(lacks.key)!
    const shows = this.#shown.get(effect.key)!
    this.#findings.violated(rule, () => ({
      message: `${happened}; operation ${this.#read.id} shows the latter, and of ${lacks.key} ${quote(shown.value)}, without the former`,
      session: writer.session,
      key: lacks.key,
      records: [...new Set([this.#read, writer, because])],
      context: [...recordsOf(shows), ...relation(shows, effect), ...relation(effect, shows), ...relation(shown, lacks)],
    }))
  }
}
