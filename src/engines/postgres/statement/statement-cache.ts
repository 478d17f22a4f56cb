import { LRUCache } from 'lru-cache'
import { analyse, unknownStatement } from './analyse.js'
import type { Catalog } from './catalog.js'
import { requireParser } from './parser.js'
import type { Statement } from './statement.js'
import { tableScopes } from './table-scopes.js'
import { refusal, type StandbyVerdict, standbyVerdict } from './verdict.js'

/** A text's facts together with the latest verdict on it, so that a repeated text costs one look-up. */
export class ClassifiedStatement {
  readonly statement: Statement
  #catalog: Catalog | undefined
  #verdict: StandbyVerdict | undefined
  #scopesOf: Catalog | undefined
  #scopes: readonly string[] | undefined
  #readsOf: Catalog | undefined
  #reads = false
  #learned: StandbyVerdict | undefined

  constructor(statement: Statement) {
    this.statement = statement
  }

  /** `standbyVerdict`, remembered until it is asked with another catalog. What was learned from a standby stands above it. */
  verdict(catalog: Catalog): StandbyVerdict {
    if (this.#learned !== undefined) return this.#learned
    if (this.#verdict === undefined || this.#catalog !== catalog) {
      this.#verdict = standbyVerdict(this.statement, catalog)
      this.#catalog = catalog
    }
    return this.#verdict
  }

  /** Whether it surely writes nothing, wherever its author wants it to run. */
  onlyReads(catalog: Catalog): boolean {
    const { statement } = this
    if (statement.hint === undefined) return this.verdict(catalog).allowed
    if (this.#readsOf !== catalog) {
      this.#reads = standbyVerdict({ ...statement, hint: undefined }, catalog).allowed
      this.#readsOf = catalog
    }
    return this.#reads && !this.refused
  }

  /** `tableScopes`, remembered until it is asked with another catalog. */
  scopes(catalog: Catalog): readonly string[] | undefined {
    if (this.#scopesOf !== catalog) {
      this.#scopes = tableScopes(this.statement, catalog)
      this.#scopesOf = catalog
    }
    return this.#scopes
  }

  /** A standby refused the text. */
  get refused(): boolean {
    return this.#learned !== undefined
  }

  /** From now on the answer is no: a standby refused the text. */
  rememberPrimary(reason: string): void {
    this.#learned = refusal(reason)
  }
}

export interface StatementCacheOptions {
  /** Texts kept at most. Default 5,000. */
  readonly maxStatements?: number
  /** Characters of all the texts kept, together. Default 8 Mi (8,388,608). */
  readonly maxTotalCharacters?: number
  /** Longer texts are neither parsed nor kept; they are `unknown`. Default 64 Ki (65,536), which take some 15 ms to parse. */
  readonly maxCharacters?: number
}

export const STATEMENT_CACHE_DEFAULTS = Object.freeze({
  maxStatements: 5_000,
  maxTotalCharacters: 8 * 1024 * 1024,
  maxCharacters: 64 * 1024,
}) satisfies Required<StatementCacheOptions>

/**
 * Analyses texts and keeps the results by text, the least recently used leaving first. A hit costs less than 100 ns, a
 * miss the parse. What was learned about a text goes when the text does; it is then learned again. The constructor throws
 * `ConfigurationError` unless `loadParser()` has been awaited; nothing else throws.
 */
export class StatementCache {
  readonly #entries: LRUCache<string, ClassifiedStatement>
  readonly #maxCharacters: number
  readonly #tooLong: ClassifiedStatement

  constructor(options: StatementCacheOptions = {}) {
    requireParser()
    const { maxStatements, maxTotalCharacters, maxCharacters } = { ...STATEMENT_CACHE_DEFAULTS, ...options }
    this.#entries = new LRUCache({
      max: maxStatements,
      maxSize: maxTotalCharacters,
      sizeCalculation: (_, text) => text.length || 1,
    })
    this.#maxCharacters = maxCharacters
    this.#tooLong = new ClassifiedStatement(unknownStatement(`it is longer than ${maxCharacters} characters`))
  }

  /** Texts kept now. */
  get size(): number {
    return this.#entries.size
  }

  get(text: string): ClassifiedStatement {
    const cached = this.#entries.get(text)
    if (cached !== undefined) return cached
    if (text.length > this.#maxCharacters) return this.#tooLong
    const classified = new ClassifiedStatement(analyse(text))
    this.#entries.set(text, classified)
    return classified
  }

  /** A standby answered 25006 or 0A000 to this text: the primary gets it from now on. A text that is not kept goes there anyway. */
  rememberPrimary(text: string, reason = 'a standby refused it before'): void {
    const classified = this.get(text)
    if (classified !== this.#tooLong) classified.rememberPrimary(reason)
  }
}
