/**
 * Gets what a failover verdict needs (rule 4) before one is given: a look at every node when a session brings a history that
 * is later than any heard of, and the record of the histories that came before the present one.
 */
import type { Clock } from '../clock.js'
import type { Cluster } from '../cluster.js'
import { isLater, lineageOf, parseLineage } from '../engine.js'
import { allWrites, EMPTY_HISTORY, type History, someLineage } from '../history.js'
import type { Monitor } from '../monitor.js'
import type { Node } from '../node.js'
import type { Position } from '../position.js'
import type { Session } from '../session.js'
import { lookForOpen, settleByHeads } from '../settle-by-heads.js'
import type { OlderEpoch } from './engine.js'

/** Reads a node's record of the histories before `epoch`; `undefined` when it may not be read. Never rejects. */
export type HistoryReader = (node: Node, epoch: number) => Promise<readonly OlderEpoch[] | undefined>

/** After a record could not be read, or not exactly, it is not asked for again this soon. */
const RETRY_MS = 1_000

export class Judge {
  readonly #cluster: Cluster
  readonly #monitor: Monitor
  readonly #read: HistoryReader
  readonly #clock: Clock
  #learning: Promise<void> | undefined
  #learnt: { readonly lineage: string; readonly at: number } | undefined

  constructor(cluster: Cluster, monitor: Monitor, read: HistoryReader, clock: Clock) {
    this.#cluster = cluster
    this.#monitor = monitor
    this.#read = read
    this.#clock = clock
  }

  /**
   * Settles when as much is known as can be, and the session speaks in terms of the present history as far as its writes
   * are preserved. `undefined` when there is nothing to judge, which is the rule. Bounded in time; never rejects.
   */
  prepare(session: Session): Promise<void> | undefined {
    if (this.#cluster.logs !== undefined) {
      return settleByHeads(session, { cluster: this.#cluster, monitor: this.#monitor, clock: this.#clock })
    }
    return this.#look(session.history)?.then(() => session.migrate(this.#cluster))
  }

  /** As `prepare`, for a position that is no session's. */
  prepareFor(position: Position): Promise<void> | undefined {
    const { logs } = this.#cluster
    return logs === undefined ? this.#look({ ...EMPTY_HISTORY, writes: position }) : lookForOpen(position, logs, this.#monitor)
  }

  /**
   * Before anything of this session runs on the primary without a fence, a write or a transaction: settles when the primary is
   * the newest that can be found. The one known here may be an old one, which lacks what the session wrote, and where what
   * is written now would be lost. `undefined` when there is nothing to find, which is the rule. As `prepare`, otherwise.
   */
  hear({ history }: { readonly history: History }): Promise<void> | undefined {
    const { lineage } = this.#cluster
    if (lineage === undefined || !someLineage(history, each => isLater(each, lineage))) return undefined
    return this.#monitor.refresh()
  }

  #look(history: History): Promise<void> | undefined {
    const { lineage } = this.#cluster
    if (lineage === undefined || !someLineage(history, each => each !== lineage)) return undefined
    return this.#lookFor(history)
  }

  async #lookFor(history: History): Promise<void> {
    // Another router may have seen a promotion that this one has not. Judged by an old picture, the write would look
    // foreign, and the old primary, which has not got it, would serve.
    await this.hear({ history })
    if (!this.#isOpen(history)) return
    this.#learning ??= this.#learn().finally(() => {
      this.#learning = undefined
    })
    await this.#learning
  }

  /** Whether some position cannot be judged by what is known. */
  #isOpen(history: History): boolean {
    const cluster = this.#cluster
    const { entries } = allWrites(history).join(history.reads)
    return entries.some(({ lineage, offset }) => lineage !== cluster.lineage && cluster.verdict(lineage, offset) === 'unknown')
  }

  async #learn(): Promise<void> {
    const { lineage } = this.#cluster
    const parsed = lineage === undefined ? undefined : parseLineage(lineage)
    if (lineage === undefined || parsed === undefined) return
    const now = this.#clock.now()
    if (this.#learnt?.lineage === lineage && now - this.#learnt.at < RETRY_MS) return
    for (const node of this.#sources(lineage)) {
      const record = await this.#read(node, parsed.epoch)
      if (record === undefined) continue
      const ancestors = record.map(({ epoch, includedUpTo, exact }) => ({
        lineage: lineageOf(parsed.system, epoch),
        includedUpTo,
        exact,
      }))
      const complete = ancestors.every(({ exact }) => exact)
      this.#cluster.learnAncestry(lineage, ancestors, complete)
      if (complete) break
    }
    this.#learnt = { lineage, at: this.#clock.now() }
  }

  /** The primary first; a standby that follows it has the record, too. */
  #sources(lineage: string): readonly Node[] {
    const { primary, nodes } = this.#cluster
    const standby = nodes.find(node => node !== primary && node.usable && !node.balanced && node.lineage === lineage)
    return [primary, standby].filter((node): node is Node => node?.usable === true)
  }
}
