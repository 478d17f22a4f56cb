import type { Server } from '../../engines/simulated/server.js'

/**
 * Commits that were acknowledged before they were on disk, and lost when their server crashed and came back *on the same
 * timeline*. Their positions are then filled by other records, and no position tells the two apart: a documented limit of
 * asynchronous commits (ARCHITECTURE.md, rule 2). Where a promotion begins a new timeline instead, they are told as lost.
 */
export class SilentLosses {
  readonly #atRisk = new Map<string, { readonly end: number; readonly values: readonly string[] }>()
  readonly #lost = new Set<string>()
  /** For each timeline, how far it had been written. */
  readonly #ends = new Map<number, number>()

  /** Before a crash: what is not on disk. */
  crashes({ id, recovering, wal, flushed }: Server): void {
    if (recovering) return
    const tail = wal.records.slice(wal.countUpTo(flushed))
    const values = tail.flatMap(({ versions }) => versions.map(({ key, value }) => `${key} ${value}`))
    this.#atRisk.set(id, { end: wal.insertPosition, values })
  }

  /** After it: the server goes on as the primary that it was. */
  comesBack({ id, recovering, wal: { timeline } }: Server): void {
    const atRisk = this.#atRisk.get(id)
    this.#atRisk.delete(id)
    if (recovering || atRisk === undefined) return
    for (const version of atRisk.values) this.#lost.add(version)
    this.#ends.set(timeline, Math.max(atRisk.end, this.#ends.get(timeline) ?? 0))
  }

  /**
   * Writes until the log is as far as it has been once. Whoever holds a position of the part that was lost waits for the log to get
   * there, and is served by the primary meanwhile: a fence that cannot open while nothing is written, and is no fault. Nothing is
   * filled beyond it, so that any other fence that stays closed is found.
   */
  fill(primary: Server): void {
    const { wal } = primary
    const end = this.#ends.get(wal.timeline) ?? 0
    while (wal.insertPosition < end) primary.checkpoint()
  }

  get size(): number {
    return this.#lost.size
  }

  has(key: string, value: string | null): boolean {
    return this.#lost.has(`${key} ${value}`)
  }
}
