import type { Server } from '../../engines/simulated/server.js'

/**
 * Commits that were acknowledged before they were on disk, and lost when their server crashed and came back *on the same
 * timeline*. Their positions are then filled by other records, and no position tells the two apart: a documented limit of
 * asynchronous commits (ARCHITECTURE.md, rule 2). Where a promotion begins a new timeline instead, they are told as lost.
 */
export class SilentLosses {
  readonly #atRisk = new Map<string, readonly string[]>()
  readonly #lost = new Set<string>()

  /** Before a crash: what is not on disk. */
  crashes({ id, recovering, wal, flushed }: Server): void {
    if (recovering) return
    const tail = wal.records.slice(wal.countUpTo(flushed))
    this.#atRisk.set(
      id,
      tail.flatMap(({ versions }) => versions.map(({ key, value }) => `${key} ${value}`)),
    )
  }

  /** After it: the server goes on as the primary that it was. */
  comesBack({ id, recovering }: Server): void {
    if (!recovering) for (const version of this.#atRisk.get(id) ?? []) this.#lost.add(version)
    this.#atRisk.delete(id)
  }

  get size(): number {
    return this.#lost.size
  }

  has(key: string, value: string | null): boolean {
    return this.#lost.has(`${key} ${value}`)
  }
}
