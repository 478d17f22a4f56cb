/**
 * The rules of `checkHistory` as one would write them down: every pair of operations is compared, and every line of versions
 * walked. Quadratic and worse, shares nothing with the real one, and is there to be compared with it.
 */
import type { HistoryRecord, OperationRecord } from '../../src/testing/index.js'

type Answer = 'holds' | 'violated' | 'undecided'

/** One case: a rule, the operation (or gauge) at fault, what it was judged about; and the answer. */
export interface Case {
  readonly rule: string
  readonly about: string
  readonly answer: Answer
}

export function naiveCheck(records: readonly HistoryRecord[]): Case[] {
  return new NaiveChecker(records).cases()
}

const STRENGTH = { eventual: 0, 'read-your-writes': 1, 'monotonic-reads': 2 }
const strength = (op: OperationRecord) => STRENGTH[op.achieved ?? op.asked ?? 'read-your-writes']

type DidOf = (op: OperationRecord) => readonly (readonly [key: string, value: string | null, ...unknown[]])[]
type Excuse = (value: string | null, op: OperationRecord) => boolean | undefined

class NaiveChecker {
  readonly #records: readonly HistoryRecord[]
  readonly #ops: readonly OperationRecord[]
  readonly #cases: Case[] = []

  constructor(records: readonly HistoryRecord[]) {
    this.#records = records
    this.#ops = records.filter(record => record.type === 'op')
  }

  cases(): Case[] {
    for (const op of this.#ops) {
      if (op.deadlineMs !== undefined) this.#deadline(op, op.deadlineMs)
      if (op.status !== 'ok') continue
      if (op.reads?.length)
        this.#add(
          'no-silent-downgrade',
          op.id,
          strength(op) >= STRENGTH[op.asked ?? 'read-your-writes'] || op.mayDegrade === true,
        )
      for (const [key, value] of op.reads ?? []) this.#read(op, key, value)
      for (const [key, value] of op.writes ?? []) {
        this.#session('monotonic-writes', op, key, value, writesOf, this.#excuseOfWrites(key))
        this.#session('writes-follow-reads', op, key, value, readsOf, this.#excuseOfWrites(key))
      }
      this.#snapshot(op)
      this.#lost(op)
    }
    for (const record of this.#records) {
      if (record.type === 'gauge') this.#add('bounds-kept', record.name, record.value <= record.bound)
      if (record.type === 'version' && this.#writer(record.key, record.value)?.status === 'failed') {
        this.#add('failed-writes-invisible', `${this.#writer(record.key, record.value)!.id} ${record.key}`, false)
      }
    }
    return this.#cases
  }

  #add(rule: string, about: unknown, answer: Answer | boolean): void {
    const said = typeof answer === 'boolean' ? (answer ? 'holds' : 'violated') : answer
    this.#cases.push({ rule, about: String(about), answer: said })
  }

  #deadline(op: OperationRecord, deadlineMs: number): void {
    const last = Math.max(...this.#ops.map(({ start, end }) => end ?? start))
    const late = (op.end ?? last) - op.start > deadlineMs
    this.#add('deadlines-kept', op.id, late ? 'violated' : op.end === undefined ? 'undecided' : 'holds')
  }

  #read(op: OperationRecord, key: string, value: string | null): void {
    if (strength(op) >= 1) this.#session('read-your-writes', op, key, value, writesOf, this.#excuseOfReads(op, key))
    const monotonic = (other: OperationRecord) => (strength(other) === 2 ? readsOf(other) : [])
    if (strength(op) === 2) this.#session('monotonic-reads', op, key, value, monotonic, this.#excuseOfReads(op, key))
    const about = `${op.id} ${key}`
    const writer = value === null ? undefined : this.#writer(key, value)
    if (value !== null) {
      const known =
        writer !== undefined || this.#records.some(each => each.type === 'version' && each.key === key && each.value === value)
      const elsewhere = this.#ops.some(other => writesOf(other).some(([, written]) => written === value))
      if (known || !elsewhere) this.#add('no-value-from-nowhere', about, known)
      if (known || elsewhere) this.#add('no-value-of-another-key', about, known)
      if (writer !== undefined) {
        this.#add('failed-writes-invisible', about, writer.status !== 'failed')
        this.#add('no-read-from-the-future', about, writer.start <= op.end!)
      }
    }
    if (op.fromOwnCache !== true) return
    const sawIt = this.#ops.some(
      other =>
        other.session === op.session &&
        other.status === 'ok' &&
        !other.fromOwnCache &&
        other.start <= op.end! &&
        readsOf(other).some(([k, v]) => k === key && v === value),
    )
    this.#add('own-cache-isolated', about, writer?.session === op.session || sawIt)
  }

  /** All that operations of the session before `op` did to the key, against what `op` shows. */
  #session(rule: string, op: OperationRecord, key: string, shown: string | null, didOf: DidOf, excuse: Excuse): void {
    const answer = worstOf(this.#before(op, key, shown, didOf, excuse))
    if (answer !== undefined) this.#add(rule, `${op.id} ${key}`, answer)
  }

  #before(op: OperationRecord, key: string, shown: string | null, didOf: DidOf, excuse: Excuse): Answer[] {
    const answers: Answer[] = []
    for (const other of this.#ops) {
      if (other.session !== op.session || other.status !== 'ok' || !precedes(other, op)) continue
      for (const [otherKey, value] of didOf(other)) {
        if (otherKey !== key || value === null) continue
        const included = this.#includes(key, shown, value)
        const excused = excuse(value, other)
        if (included === true || excused === true) answers.push('holds')
        else answers.push(included === false && excused === false ? 'violated' : 'undecided')
      }
    }
    return answers
  }

  /** Told: by an operation that is not certainly later than the read, and not certainly earlier than what was lost. */
  #excuseOfReads(read: OperationRecord, key: string) {
    return (value: string | null, did: OperationRecord): boolean | undefined => {
      const fate = this.#kept(key, value)
      const told = this.#told(did, report => report.start <= read.end!)
      if (!told || fate === true) return false
      return fate === false ? true : undefined
    }
  }

  #told(did: OperationRecord, when: (report: OperationRecord) => boolean = () => true): boolean {
    return this.#ops.some(
      op =>
        op !== did &&
        op.session === did.session &&
        op.reportsLoss === true &&
        op.end !== undefined &&
        op.end >= did.start &&
        when(op),
    )
  }

  #excuseOfWrites(key: string) {
    return (value: string | null): boolean | undefined => {
      const kept = this.#kept(key, value)
      if (kept === false) return true
      return kept === undefined && this.#final(key) !== undefined ? undefined : false
    }
  }

  /** Each key beside another of which a write is known: the worst that any effect of the others says. */
  #snapshot(read: OperationRecord): void {
    if ((read.reads?.length ?? 0) < 2) return
    const shown = new Map(readsOf(read))
    for (const [key, value] of shown) {
      const others = [...shown].filter(([other]) => other !== key)
      const effects = others.flatMap(([other, top]) => this.#line(other, top).map(effect => this.#effect(other, effect))).flat()
      if (effects.length === 0) continue
      const of = effects.filter(({ writer }) => writer !== read)
      const excuse = this.#excuseOfWrites(key)
      const worst = (rule: string, answers: Answer[]) => this.#add(rule, `${read.id} ${key}`, worstOf(answers) ?? 'holds')
      worst(
        'monotonic-writes',
        of.flatMap(({ writer }) => this.#before(writer, key, value, writesOf, excuse)),
      )
      worst(
        'writes-follow-reads',
        of.flatMap(({ writer }) => this.#before(writer, key, value, readsOf, excuse)),
      )
      if (!effects.some(({ writer }) => new Set(writesOf(writer).map(([k]) => k)).size > 1)) continue
      worst(
        'atomic-visibility',
        of.flatMap(({ writer }) => {
          const last = new Map(writesOf(writer).map(([k, v]) => [k, v]))
          return last.has(key) ? [answerOf(this.#includes(key, value, last.get(key)!))] : []
        }),
      )
    }
  }

  #effect(key: string, value: string | null) {
    const writer = value === null ? undefined : this.#writer(key, value)
    return writer === undefined ? [] : [{ writer }]
  }

  #lost(write: OperationRecord): void {
    for (const [key, value] of writesOf(write)) {
      if (this.#kept(key, value) !== false) continue
      const again = this.#ops.some(
        op =>
          op.session === write.session &&
          op.status === 'ok' &&
          strength(op) >= 1 &&
          precedes(write, op) &&
          readsOf(op).some(([k, v]) => k === key && this.#kept(key, v) === true),
      )
      if (this.#told(write)) this.#add('lost-writes-reported', `${write.id} ${key}`, true)
      else if (again) this.#add('lost-writes-reported', `${write.id} ${key}`, false)
    }
  }

  #writer(key: string, value: string): OperationRecord | undefined {
    return this.#ops.find(op => writesOf(op).some(([k, v]) => k === key && v === value))
  }

  #prev(key: string, value: string): string | null | undefined {
    for (const record of this.#records) {
      if (record.type === 'version' && record.key === key && record.value === value) return record.prev
    }
    return this.#writer(key, value)?.writes?.find(([k, v]) => k === key && v === value)?.[2]
  }

  /** The version and its ancestors, as far as they are known; the last one is null when all are. */
  #line(key: string, value: string | null): (string | null)[] {
    const line: (string | null)[] = []
    for (let at: string | null | undefined = value; at !== undefined; at = at === null ? undefined : this.#prev(key, at))
      line.push(at)
    return line
  }

  #includes(key: string, shown: string | null, written: string | null): boolean | undefined {
    const line = this.#line(key, shown)
    if (written === null || line.includes(written)) return true
    const top = line.at(-1)!
    if (top === null || this.#line(key, written).includes(top)) return false
    const [above, below] = [this.#writer(key, written), this.#writer(key, top)]
    return below?.status === 'ok' && above !== undefined && below.end! <= above.start ? false : undefined
  }

  #final(key: string) {
    return this.#records.find(record => record.type === 'final' && record.key === key) as { value: string | null } | undefined
  }

  #kept(key: string, value: string | null): boolean | undefined {
    const final = this.#final(key)
    return final === undefined ? undefined : this.#includes(key, final.value, value)
  }
}

function precedes(a: OperationRecord, b: OperationRecord): boolean {
  const atOnce = a.start === a.end && b.start === b.end && a.start === b.start
  return a.end! <= b.start && !atOnce
}

function worstOf(answers: readonly Answer[]): Answer | undefined {
  return (['violated', 'undecided', 'holds'] as const).find(each => answers.includes(each))
}

function answerOf(included: boolean | undefined): Answer {
  if (included === undefined) return 'undecided'
  return included ? 'holds' : 'violated'
}

function writesOf(op: OperationRecord) {
  return op.writes ?? []
}

function readsOf(op: OperationRecord) {
  return op.reads ?? []
}
