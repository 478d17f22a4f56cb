import { analyse } from './analyse.js'
import { HARMLESS } from './builtins.js'
import type { CatalogRow } from './catalog-query.js'
import { ScopeFacts } from './scope-facts.js'
import type { ScopeKind } from './scope-query.js'
import type { Name, Statement } from './statement.js'

/** What the catalog says about one name in one schema, all objects of that name taken together. */
export interface CatalogEntry {
  readonly schema: string
  /** Why it may not run on a standby: a phrase to follow the name. */
  readonly obstacle: string | undefined
  /** SQL that runs whenever it is used. */
  readonly uses: readonly string[]
}

/**
 * One snapshot of a database's catalog, immutable and by name. It overstates on purpose: where one overload of a function
 * is volatile, all are; and a name without a schema stands for that name in every schema, so that an answer does not
 * depend on any connection's `search_path`. It knows nothing of what has changed since it was read.
 */
export class Catalog {
  /** What forbids every statement to run on a standby, if anything does. */
  readonly obstacle: string | undefined
  /** What it knows of the tables that statements touch. */
  readonly scopes: ScopeFacts
  readonly #entries: ReadonlyMap<string, ReadonlyMap<string, readonly CatalogEntry[]>>
  readonly #analysed = new Map<string, Statement>()

  /** @internal Use `buildCatalog`. */
  constructor(
    entries: ReadonlyMap<string, ReadonlyMap<string, readonly CatalogEntry[]>>,
    scopes: ScopeFacts,
    obstacle: string | undefined,
  ) {
    this.#entries = entries
    this.scopes = scopes
    this.obstacle = obstacle
  }

  /** The entries that a name may stand for; none when the snapshot does not know it. */
  find(kind: Exclude<CatalogRow['kind'], 'every' | ScopeKind>, { schema, name }: Name): readonly CatalogEntry[] {
    const entries = this.#entries.get(kind)?.get(name) ?? []
    return schema === undefined ? entries : entries.filter(entry => entry.schema === schema)
  }

  /** The analysis of SQL from this catalog's entries, made when it is first needed. */
  analysed(sql: string): Statement {
    const known = this.#analysed.get(sql)
    if (known !== undefined) return known
    const statement = analyse(sql)
    this.#analysed.set(sql, statement)
    return statement
  }
}

/** Makes a snapshot from the rows of `catalogQuery`. */
export function buildCatalog(rows: readonly CatalogRow[]): Catalog {
  const kinds = new Map<string, Map<string, CatalogEntry[]>>()
  for (const row of rows) {
    if (row.kind === 'every' || row.kind.startsWith('scope-')) continue
    const names = kinds.get(row.kind) ?? new Map<string, CatalogEntry[]>()
    kinds.set(row.kind, names)
    const entries = names.get(row.name) ?? []
    names.set(row.name, entries)
    add(row, entries)
  }
  for (const entries of kinds.get('relation')?.values() ?? []) forgetHiddenTemporaries(entries)
  const every = rows.find(row => row.kind === 'every')
  return new Catalog(kinds, new ScopeFacts(rows), every && `${every.name} ${every.obstacle}`)
}

/** Knows no name at all: only a statement without any is allowed on a standby. */
export const emptyCatalog: Catalog = buildCatalog([])

function entryOf(row: CatalogRow): CatalogEntry {
  const harmless = row.kind === 'function' && row.schema === 'pg_catalog' && HARMLESS.has(row.name)
  return {
    schema: row.schema,
    obstacle: harmless ? undefined : (row.obstacle ?? undefined),
    uses: row.uses === null ? [] : [row.uses],
  }
}

function add(row: CatalogRow, entries: CatalogEntry[]): void {
  const added = entryOf(row)
  const at = entries.findIndex(entry => entry.schema === row.schema)
  const present = entries[at]
  if (present === undefined) entries.push(added)
  else entries[at] = { ...present, obstacle: present.obstacle ?? added.obstacle, uses: [...present.uses, ...added.uses] }
}

/**
 * A temporary table hides a permanent one of its name only from the connection that made it, and such a connection is tied.
 * For all others it must not matter.
 */
function forgetHiddenTemporaries(entries: CatalogEntry[]): void {
  const permanent = entries.filter(entry => entry.obstacle !== 'is temporary')
  if (permanent.length > 0) entries.splice(0, entries.length, ...permanent)
}
