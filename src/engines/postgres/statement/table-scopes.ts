import { SCOPE_WRITING } from './builtins.js'
import type { Catalog, CatalogEntry } from './catalog.js'
import { isTemporarySchema } from './names.js'
import type { Name, Statement, Target } from './statement.js'

/**
 * Which tables does a statement touch? With `scopes: 'tables'` a write marks only the scopes that it touched, and a read
 * waits only for the marks of the scopes that it reads.
 *
 * **The race.** A session writes W and then reads with R. R does not wait for W, so it may run on a replica that has not replayed W
 * yet. That is read-your-writes only if R shows the same there as it would with W.
 *
 * **The claim.** Of a write W and a read R with one catalog snapshot S: if W can change what R shows, then `tableScopes` says
 * undefined (any table) of W or of R, or they share a scope. An undefined write marks everything, an undefined read waits for
 * everything, so a read that does not wait for W shows the same with and without it: nothing is missed by not waiting.
 *
 * **Why the table in the text is not enough.** `insert into orders` changes what a read of `audit` shows (a trigger), `delete from
 * users` what one of `posts` does (ON DELETE CASCADE), `insert into events_2024` what one of `events` does (partition), `insert
 * into a` goes to `b` (a rule), and `select order_count()` names no table at all. Each of these would be a stale read.
 *
 * **Why this is enough.** What a statement changes are rows of tables, by one of these ways only, and each is closed or refused:
 *
 * 1. Its own INSERT, UPDATE, DELETE and MERGE, at the top or in WITH: the targets, from PostgreSQL's own parser. A text that holds
 *    any other node is refused.
 * 2. Inheritance and partitions: a family of tables has one scope, which reads use, too. So it does not matter who routes
 *    rows where.
 * 3. Actions of foreign keys: followed, through families, until nothing is added. Only an UPDATE or DELETE sets them off. Checks of
 *    foreign keys only lock; a lock shows in `xmax`, so a read that names that column is refused.
 * 4. Code of the user's own: triggers and rules (refused, wherever in a family), and functions, be they called by the text or
 *    from a default, a generated column, a check, a policy, an index, a partition key, a domain, an operator or a cast. All
 *    that a statement or one of the tables written runs is walked through, and any function that is neither immutable and
 *    built in nor on a list here is refused. That also refuses built-in ones which run SQL given as text.
 * 5. Sequences are written (`nextval`) without a mark, so whatever reads one is refused.
 *
 * A read shows the rows of the relations that it names, views being replaced by their queries and policies added, and what its
 * functions look up, by the rule of 4 nothing. System catalogs, foreign and temporary tables are refused. A materialized view
 * is a table that only REFRESH writes, which marks everything.
 *
 * **Names.** A name counts as all relations of that name in every schema, in writes and reads alike. That merges scopes, which makes
 * reads wait for more, and never splits one: whichever of them the `search_path` chose, the name is the same.
 *
 * **Limits.** A snapshot may be a minute old where DDL was somebody else's, or done inside a function, as for the labels of functions.
 * After DDL that came through here nothing is told until a newer snapshot of the primary has been taken (`CatalogClassifier`).
 * Scopes are names: rows that DDL moves to another name (RENAME, ATTACH, DETACH) between W and R keep the mark of their old one, so
 * whoever keeps marks should make them global when such DDL is possible. Trusted is what only a superuser can make: functions of
 * types and of operator classes, and immutable ones in C behind operators and casts.
 */
export function tableScopes(statement: Statement, catalog: Catalog): readonly string[] | undefined {
  if (statement.multi || statement.ties) return undefined
  if (catalog.obstacle !== undefined || catalog.scopes.obstacle !== undefined) return undefined
  if (statement.kind === 'read') return new Walk(catalog, false).read(statement)
  return statement.targets.length > 0 ? new Walk(catalog, true).written(statement) : undefined
}

/** A write that touches more is one to everything: marks travel in tokens. */
const MAX_WRITTEN = 4

const SYSTEM_SCHEMA = /^(pg_|information_schema$)/

/** One walk through everything that a statement runs and reads. Its methods that return a boolean say whether all is known. */
class Walk {
  readonly #catalog: Catalog
  readonly #writes: boolean
  readonly #scopes = new Set<string>()
  readonly #seen = new Set<CatalogEntry>()

  constructor(catalog: Catalog, writes: boolean) {
    this.#catalog = catalog
    this.#writes = writes
  }

  read(statement: Statement): readonly string[] | undefined {
    return this.#names(statement) ? [...this.#scopes].sort() : undefined
  }

  /** The relations that a write only reads are looked at for what reading them runs; its scopes are those that it changes. */
  written(statement: Statement): readonly string[] | undefined {
    const { targets } = statement
    if (!this.#names(statement) || targets.some(target => this.#catalog.find('relation', target).length === 0)) return undefined
    const written = new Set<string>()
    for (const name of this.#closure(targets)) {
      if (!this.#catalog.scopes.family(name).every(member => this.#table(member))) return undefined
      written.add(this.#catalog.scopes.scopeOf(name))
    }
    return written.size <= MAX_WRITTEN ? [...written].sort() : undefined
  }

  #names(statement: Statement): boolean {
    return (
      (this.#writes || !statement.showsLocks) &&
      statement.functions.every(name => this.#function(name)) &&
      statement.operators.every(name => this.#operator(name)) &&
      statement.types.every(name => this.#type(name)) &&
      statement.relations.every(name => this.#relation(name)) &&
      statement.attributes.every(name => this.#attribute({ schema: undefined, name })) &&
      statement.fields.every(name => this.#field({ schema: undefined, name }))
    )
  }

  #function(name: Name): boolean {
    const entries = this.#catalog.find('function', name)
    // `sometype(value)` is a cast where no function fits.
    const types = this.#catalog.find('type', name)
    if (entries.length + types.length === 0) return false
    if (this.#isOpaqueFunction(name, entries) || this.#catalog.scopes.isOpaque('type', name)) return false
    return this.#entries(entries) && this.#entries(types)
  }

  /** What `nextval` and its kin change, no statement with scopes reads. */
  #isOpaqueFunction(name: Name, entries: readonly CatalogEntry[]): boolean {
    const builtIn = this.#writes && SCOPE_WRITING.has(name.name) && entries.every(entry => entry.schema === 'pg_catalog')
    return !builtIn && this.#catalog.scopes.isOpaque('function', name)
  }

  #operator(name: Name): boolean {
    return this.#catalog.find('operator', name).length > 0 && !this.#catalog.scopes.isOpaque('operator', name)
  }

  #type(name: Name): boolean {
    const entries = this.#catalog.find('type', name)
    if (entries.length === 0 && this.#catalog.find('relation', name).length === 0) return false
    return !this.#catalog.scopes.isOpaque('type', name) && this.#entries(entries)
  }

  #relation(name: Name): boolean {
    const entries = this.#catalog.find('relation', name)
    if (entries.length === 0 || (name.schema !== undefined && isTemporarySchema(name.schema))) return false
    if (entries.some(entry => SYSTEM_SCHEMA.test(entry.schema))) return false
    const { scopes } = this.#catalog
    if (scopes.isElusive(name.name)) return false
    if (!entries.every(entry => scopes.isView(entry.schema, name.name))) this.#scopes.add(scopes.scopeOf(name.name))
    // A literal beside a row, or a column that is an array, becomes one, which runs checks of domains: hence the types of columns.
    return this.#entries(entries) && this.#entries(this.#catalog.find('type', name))
  }

  /** A column, unless there is a function of that name which takes a row. */
  #attribute(name: Name): boolean {
    return this.#catalog.find('attribute', name).length === 0 || this.#function(name)
  }

  /** A field of a composite value, unless there is a function or a type of that name. */
  #field(name: Name): boolean {
    const called = this.#catalog.find('function', name).length + this.#catalog.find('type', name).length > 0
    return !called || this.#function(name)
  }

  #entries(entries: readonly CatalogEntry[]): boolean {
    for (const entry of entries) {
      if (this.#seen.has(entry)) continue
      this.#seen.add(entry)
      if (!entry.uses.every(sql => this.#uses(sql))) return false
    }
    return true
  }

  #uses(sql: string): boolean {
    const statement = this.#catalog.analysed(sql)
    return statement.kind === 'read' && !statement.ties && this.#names(statement)
  }

  /** The names of all relations whose rows a statement with these targets changes; not yet the rest of their families. */
  #closure(targets: readonly Target[]): Iterable<string> {
    const onlyInserted = new Map<string, boolean>()
    const add = (name: string, inserts: boolean) => {
      if (onlyInserted.get(name) === false || onlyInserted.get(name) === inserts) return
      // Put at the end, so that the walk below, which sees what is added, comes to it (again).
      onlyInserted.delete(name)
      onlyInserted.set(name, inserts)
    }
    const { scopes } = this.#catalog
    for (const { name, inserts } of targets) add(name, inserts)
    for (const [name, inserts] of onlyInserted) {
      if (inserts) continue
      for (const member of scopes.family(name)) for (const referencing of scopes.actions(member)) add(referencing, false)
    }
    return onlyInserted.keys()
  }

  /** It is known what writing this table runs, and that this is nothing that could change another. */
  #table(name: string): boolean {
    const entries = this.#catalog.find('relation', { schema: undefined, name })
    if (entries.length === 0 || entries.some(entry => SYSTEM_SCHEMA.test(entry.schema))) return false
    const { obstacle, uses } = this.#catalog.scopes.target(name)
    if (entries.some(entry => this.#catalog.scopes.isView(entry.schema, name))) return false
    if (obstacle !== undefined || this.#catalog.scopes.isElusive(name)) return false
    return uses.every(sql => this.#uses(sql)) && this.#entries(this.#catalog.find('type', { schema: undefined, name }))
  }
}
