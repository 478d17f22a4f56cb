import { isPrimaryOnly } from './builtins.js'
import type { Catalog, CatalogEntry } from './catalog.js'
import { isTemporarySchema } from './names.js'
import type { Name, Statement } from './statement.js'

/** May a text run on a hot standby, as far as its parse and one catalog snapshot can tell? */
export interface StandbyVerdict {
  readonly allowed: boolean
  /** Why not, in words, for a log or a report. Empty when allowed. */
  readonly reason: string
  /** The only thing against it is a name that the snapshot does not know; a newer one may. Do not reload for each of these: bound the rate. */
  readonly unknown: boolean
}

const ALLOWED: StandbyVerdict = { allowed: true, reason: '', unknown: false }

/** A verdict of "no" for a reason that no newer catalog can remove. */
export function refusal(reason: string): StandbyVerdict {
  return { allowed: false, reason, unknown: false }
}

/**
 * Judges a text by its names. In doubt the answer is no.
 *
 * Allowed means that it writes nothing, takes no lock that outlives it and leaves nothing behind on the connection,
 * provided that functions labelled STABLE or IMMUTABLE keep what the label promises: PostgreSQL does not check it, and
 * such a function can still take an advisory lock. A comment `tidemark: replica` vouches for the functions, operators and
 * types of a read, nothing else. Not covered: that the standby is caught up, that it has the right settings, that the
 * catalog has not changed since the snapshot.
 */
export function standbyVerdict(statement: Statement, catalog: Catalog): StandbyVerdict {
  if (statement.kind !== 'read') return refusal(statement.reason)
  if (statement.hint === 'primary') return refusal('a comment in it asks for the primary')
  if (statement.ties) return refusal('it leaves state behind on its connection')
  if (statement.hint === 'replica') return ALLOWED
  if (catalog.obstacle !== undefined) return refusal(catalog.obstacle)
  return new Inspection(catalog).verdict(statement)
}

/** One walk through everything that a statement uses, directly and through views, policies, domains and default arguments. */
class Inspection {
  readonly #catalog: Catalog
  readonly #seen = new Set<CatalogEntry>()
  #unknown: string | undefined

  constructor(catalog: Catalog) {
    this.#catalog = catalog
  }

  verdict(statement: Statement): StandbyVerdict {
    const obstacle = this.#obstacleIn(statement)
    if (obstacle !== undefined) return refusal(obstacle)
    if (this.#unknown !== undefined) return { allowed: false, reason: this.#unknown, unknown: true }
    return ALLOWED
  }

  #obstacleIn(statement: Statement): string | undefined {
    return (
      first(statement.functions, name => this.#function(name)) ??
      first(statement.operators, name => this.#named('operator', name, this.#catalog.find('operator', name))) ??
      first(statement.types, name => this.#type(name)) ??
      first(statement.relations, name => this.#relation(name)) ??
      first(statement.attributes, name => this.#attribute({ schema: undefined, name })) ??
      first(statement.fields, name => this.#field({ schema: undefined, name }))
    )
  }

  #function(name: Name): string | undefined {
    if (isPrimaryOnly(name.name)) return `function ${display(name)} is for the primary only`
    // `sometype(value)` is a cast where no function fits.
    return this.#named('function', name, [...this.#catalog.find('function', name), ...this.#catalog.find('type', name)])
  }

  #type(name: Name): string | undefined {
    const entries = this.#catalog.find('type', name)
    // Every relation is also a type, listed as such only if there is something to say about it.
    const known = entries.length > 0 || this.#catalog.find('relation', name).length > 0
    return known ? this.#entries('type', name, entries) : this.#named('type', name, [])
  }

  #relation(name: Name): string | undefined {
    if (name.schema !== undefined && isTemporarySchema(name.schema)) return `relation ${display(name)} is temporary`
    return this.#named('relation', name, this.#catalog.find('relation', name))
  }

  /** A column, unless there is a function of that name which takes a row. */
  #attribute(name: Name): string | undefined {
    return this.#catalog.find('attribute', name).length > 0 ? this.#function(name) : undefined
  }

  /** A field of a composite value, unless there is a function or a type of that name. */
  #field(name: Name): string | undefined {
    const called = this.#catalog.find('function', name).length > 0 || this.#catalog.find('type', name).length > 0
    return called ? this.#function(name) : undefined
  }

  #named(kind: string, name: Name, entries: readonly CatalogEntry[]): string | undefined {
    if (entries.length === 0) this.#unknown ??= `${kind} ${display(name)} is not known`
    return this.#entries(kind, name, entries)
  }

  #entries(kind: string, name: Name, entries: readonly CatalogEntry[]): string | undefined {
    for (const entry of entries) {
      const described = `${kind} ${display({ schema: entry.schema, name: name.name })}`
      if (entry.obstacle !== undefined) return `${described} ${entry.obstacle}`
      if (this.#seen.has(entry)) continue
      this.#seen.add(entry)
      const within = first(entry.uses, sql => this.#uses(this.#catalog.analysed(sql)))
      if (within !== undefined) return `${described}: ${within}`
    }
    return undefined
  }

  #uses(statement: Statement): string | undefined {
    if (statement.kind !== 'read') return statement.reason
    return statement.ties ? 'it leaves state behind on its connection' : this.#obstacleIn(statement)
  }
}

function first<T>(items: readonly T[], find: (item: T) => string | undefined): string | undefined {
  for (const item of items) {
    const found = find(item)
    if (found !== undefined) return found
  }
  return undefined
}

function display({ schema, name }: Name): string {
  return schema === undefined ? name : `${schema}.${name}`
}
