import type { Clock, Timer } from '../../core/clock.js'
import { publish } from '../../core/events.js'
import type { Classified, Classifier } from './classifier.js'
import { send } from './driver.js'
import type { PostgresNode } from './postgres-node.js'
import {
  analyse,
  buildCatalog,
  type Catalog,
  type CatalogRow,
  catalogQuery,
  emptyCatalog,
  plainCatalogQuery,
  StatementCache,
} from './statement/index.js'

/** A snapshot of the catalog is taken anew this often: a function made volatile by somebody else is noticed by then. */
const REFRESH_INTERVAL_MS = 60_000
/** After a hint that something changed (DDL sent through here, a name not known), this much later. */
const REFRESH_SOON_MS = 250
const REFRESH_TIMEOUT_MS = 10_000

/**
 * Classifies texts with the parser and the newest snapshot of the catalog. Without any snapshot (no node could be asked
 * yet) only statements that name nothing are taken for reads: in doubt, the primary.
 */
export class CatalogClassifier implements Classifier {
  readonly #nodes: () => readonly PostgresNode[]
  readonly #clock: Clock
  readonly #db: string
  readonly #cache = new StatementCache()
  readonly #nothing: Classified = { statement: analyse(''), standby: false }
  readonly #tableScopes: boolean
  #catalog: Catalog = emptyCatalog
  #timer: Timer | undefined
  /** How often the catalog has been changed through here, and how many of these changes the snapshot has surely seen. */
  #changes = 0
  #changesSeen = 0
  #dueAt = Number.POSITIVE_INFINITY
  #stopped = false

  /** `nodes` gives the nodes that can be asked now, the best one first. Scopes are derived only if asked for: they cost. */
  constructor(nodes: () => readonly PostgresNode[], clock: Clock, tableScopes: boolean, db: string) {
    this.#db = db
    this.#nodes = nodes
    this.#clock = clock
    this.#tableScopes = tableScopes
  }

  classify(text: string | undefined): Classified {
    if (text === undefined) return this.#nothing
    const known = this.#cache.get(text)
    const { statement } = known
    const verdict = known.verdict(this.#catalog)
    if (verdict.unknown) this.#schedule(REFRESH_SOON_MS)
    // A trigger that the snapshot has not seen would make a write look harmless: until it is newer than our own DDL, any.
    const isCurrent = this.#changes === this.#changesSeen
    const scopes = this.#tableScopes && isCurrent ? known.scopes(this.#catalog) : undefined
    if (statement.hint === undefined) return { statement, standby: verdict.allowed, onlyReads: verdict.allowed, scopes }
    const standby = statement.hint === 'replica' && statement.kind === 'read' && !known.refused
    const onlyReads = known.onlyReads(this.#catalog)
    return { statement, standby, onlyReads, forced: standby && !onlyReads, scopes }
  }

  rememberPrimary(text: string): void {
    this.#cache.rememberPrimary(text)
  }

  invalidate(): void {
    this.#changes++
    this.#schedule(REFRESH_SOON_MS)
  }

  /** Takes a new snapshot from the first node that gives one; keeps the old one when none does. Never rejects. */
  async refresh(): Promise<void> {
    // From here on a change is one that this snapshot may miss: it makes another one due.
    this.#dueAt = Number.POSITIVE_INFINITY
    const changes = this.#changes
    let cause: unknown = new Error('no node can be asked')
    for (const node of this.#nodes()) {
      try {
        this.#catalog = buildCatalog(await this.#read(node))
        this.#changesSeen = changes
        cause = undefined
        break
      } catch (error) {
        cause = error
      }
    }
    if (cause !== undefined && !this.#stopped)
      publish('tidemark:warning', () => ({ db: this.#db, message: 'the catalog could not be read', cause }))
    this.#schedule(REFRESH_INTERVAL_MS)
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
  }

  async #read(node: PostgresNode): Promise<CatalogRow[]> {
    const lease = await node.acquired()
    // It may have to wait behind somebody's lock.
    const timer = this.#clock.setTimer(() => node.cut(lease), REFRESH_TIMEOUT_MS)
    return new Promise((resolve, reject) => {
      send(lease.connection, this.#tableScopes ? catalogQuery : plainCatalogQuery, undefined, (failure, result) => {
        timer.cancel()
        lease.release(failure != null)
        if (failure) reject(failure)
        else resolve(result.rows as CatalogRow[])
      })
    })
  }

  #schedule(delayMs: number): void {
    const dueAt = this.#clock.now() + delayMs
    if (this.#stopped || dueAt >= this.#dueAt) return
    this.#dueAt = dueAt
    this.#timer?.cancel()
    this.#timer = this.#clock.setTimer(() => void this.refresh(), delayMs)
  }
}
