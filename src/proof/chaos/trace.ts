/** All that happened in a run, as it goes to the checker. */
import type { FinalRecord, HistoryRecord, OperationRecord, VersionRecord } from '../../testing/history/record.js'

/** What the history of a device does not say. */
export interface Circumstances {
  readonly user?: string | undefined
  /** Of a user's write: the other devices know of it. */
  readonly everywhere?: boolean
  /** How long its sender waited for an answer, whether one came or not; absent when it went away by itself. */
  readonly waitedMs?: number | undefined
}

interface Noted {
  readonly operation: OperationRecord
  readonly circumstances: Circumstances
}

export class Trace {
  readonly #noted: Noted[] = []
  readonly #versions = new Map<string, VersionRecord>()
  #finals: readonly FinalRecord[] = []

  get operations(): number {
    return this.#noted.length
  }

  /** The longest that anybody had to wait. */
  get worstStallMs(): number {
    return this.#noted.reduce((worst, { circumstances: { waitedMs = 0 } }) => Math.max(worst, waitedMs), 0)
  }

  add(operation: Omit<OperationRecord, 'id'>, circumstances: Circumstances): void {
    this.#noted.push({ operation: { id: this.#noted.length + 1, ...operation }, circumstances })
  }

  witnessed(versions: readonly VersionRecord[]): void {
    for (const version of versions) this.#versions.set(version.value, version)
  }

  ended(finals: readonly FinalRecord[]): void {
    this.#finals = finals
  }

  /**
   * Every device is a session. Its tokens are its own, so whatever is promised to a session holds for it, losses included: the token
   * that says what was written comes back until an answer with the report has arrived.
   */
  byDevice(): HistoryRecord[] {
    return [...this.#noted.map(({ operation }) => operation), ...this.#versions.values(), ...this.#finals]
  }

  /**
   * Every user is a session, on both devices, by way of the token store. That is promised for what was stored, and stays. Of losses the
   * device is told that wrote: its token knows. The store need not: PostgreSQL's is empty after a promotion, which is safe for
   * what is still there, and says nothing of what is not. So lost writes oblige to nothing here, and no report excuses anything. What
   * others write is there to be read.
   */
  byUser(): HistoryRecord[] {
    const lost = new Set(this.#lost().map(({ id }) => id))
    const operations = this.#noted.flatMap(({ operation, circumstances: { user, everywhere } }): OperationRecord[] => {
      const { end, achieved: _, reportsLoss: __, deadlineMs: ___, ...rest } = operation
      if (operation.writes !== undefined) {
        const obliges = user !== undefined && everywhere === true && !lost.has(operation.id)
        return [{ ...rest, session: user ?? operation.session, ...(obliges ? { end: end! } : { status: 'unknown' }) }]
      }
      if (user === undefined || end === undefined || operation.asked === 'eventual') return []
      return [{ ...rest, session: user, end }]
    })
    return [...operations, ...this.#versions.values(), ...this.#finals]
  }

  #lost(): OperationRecord[] {
    const present = this.#present()
    const isLost = ({ status, writes = [] }: OperationRecord) =>
      status === 'ok' && writes.some(([, value]) => !present.has(value))
    return this.#noted.map(({ operation }) => operation).filter(isLost)
  }

  /** The values in the end, and all that they have replaced. */
  #present(): Set<string> {
    const present = new Set<string>()
    for (const { value } of this.#finals) {
      for (let each = value; each !== null && !present.has(each); each = this.#versions.get(each)?.prev ?? null) present.add(each)
    }
    return present
  }
}
