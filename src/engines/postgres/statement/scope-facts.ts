import { SCOPE_HARMLESS } from './builtins.js'
import type { CatalogRow } from './catalog-query.js'
import type { Name } from './statement.js'

/** What a write to the relations of one bare name comes to, besides changing their rows. */
export interface TargetFacts {
  /** Why it cannot be told, if so: a phrase to follow the name. */
  readonly obstacle: string | undefined
  /** SQL that such a write runs: defaults, checks, policies, expressions of indexes. */
  readonly uses: readonly string[]
}

const NOTHING: TargetFacts = { obstacle: undefined, uses: [] }

/**
 * The part of a catalog snapshot that `tableScopes` reads. Relations go by their bare names: one name stands for the
 * relations of that name in every schema, with what is true of any of them true of all.
 */
export class ScopeFacts {
  /** Why nothing can be told of any statement, if so. */
  readonly obstacle: string | undefined
  /** `kind`, a space, and a name: the schemas where using it may read or write anything. */
  readonly #opaque = new Map<string, Set<string>>()
  readonly #targets = new Map<string, TargetFacts>()
  /** Referenced by a foreign key with an action: those that reference it. */
  readonly #actions = new Map<string, Set<string>>()
  readonly #families = new Families()

  constructor(rows: readonly CatalogRow[]) {
    const every = rows.find(row => row.kind === 'scope-every')
    this.obstacle = rows.length === 0 ? 'the catalog is not known' : every && `${every.name} ${every.obstacle}`
    for (const row of rows) this.#add(row)
  }

  /** The function, operator or type may read or write anything. */
  isOpaque(kind: 'function' | 'operator' | 'type', { schema, name }: Name): boolean {
    const schemas = this.#opaque.get(`scope-${kind} ${name}`)
    return schemas !== undefined && (schema === undefined || schemas.has(schema))
  }

  /** The relation of that schema is a view. */
  isView(schema: string, name: string): boolean {
    return this.#opaque.get(`scope-view ${name}`)?.has(schema) === true
  }

  /** All that inheritance and partitioning connect with `name`, itself included. */
  family(name: string): readonly string[] {
    return this.#families.members(name)
  }

  /** The name that stands for the family of `name`. */
  scopeOf(name: string): string {
    return `table:${this.#families.head(name)}`
  }

  /** One of the family is a sequence, a foreign table, or temporary (a view of that kind may hide a table): its rows change in ways that no statement here shows. */
  isElusive(name: string): boolean {
    return this.family(name).some(member => this.#opaque.has(`scope-relation ${member}`))
  }

  target(name: string): TargetFacts {
    return this.#targets.get(name) ?? NOTHING
  }

  /** What foreign keys change when rows of `name` are updated or deleted. */
  actions(name: string): Iterable<string> {
    return this.#actions.get(name) ?? []
  }

  #add({ kind, schema, name, obstacle, uses }: CatalogRow): void {
    if (kind === 'scope-child') this.#families.connect(name, uses ?? '')
    else if (kind === 'scope-action') addTo(this.#actions, name, uses ?? '')
    else if (kind === 'scope-target') {
      const present = this.target(name)
      const all = uses === null || present.uses.includes(uses) ? present.uses : [...present.uses, uses]
      this.#targets.set(name, { obstacle: present.obstacle ?? obstacle ?? undefined, uses: all })
    } else if (kind.startsWith('scope-') && !isHarmless(kind, schema, name)) addTo(this.#opaque, `${kind} ${name}`, schema)
  }
}

/** Names connected by inheritance. */
class Families {
  readonly #neighbours = new Map<string, Set<string>>()
  readonly #children = new Set<string>()
  readonly #known = new Map<string, { readonly head: string; readonly members: readonly string[] }>()

  connect(child: string, parent: string): void {
    this.#children.add(child)
    addTo(this.#neighbours, child, parent)
    addTo(this.#neighbours, parent, child)
  }

  members(name: string): readonly string[] {
    return this.#of(name).members
  }

  /** The least name at the top, so that a partition that comes or goes does not rename the rest. */
  head(name: string): string {
    return this.#of(name).head
  }

  #of(name: string): { readonly head: string; readonly members: readonly string[] } {
    const known = this.#known.get(name)
    if (known !== undefined) return known
    const members = new Set([name])
    // A set gives what is added while it is walked, too.
    for (const member of members) for (const neighbour of this.#neighbours.get(member) ?? []) members.add(neighbour)
    const tops = [...members].filter(member => !this.#children.has(member))
    const [head = name] = (tops.length > 0 ? tops : [...members]).sort()
    const family = { head, members: [...members] }
    // Names without relatives come from texts, so they are not kept.
    if (members.size > 1) for (const member of members) this.#known.set(member, family)
    return family
  }
}

function isHarmless(kind: string, schema: string, name: string): boolean {
  return kind === 'scope-function' && schema === 'pg_catalog' && SCOPE_HARMLESS.has(name)
}

function addTo(map: Map<string, Set<string>>, key: string, value: string): void {
  const present = map.get(key)
  if (present === undefined) map.set(key, new Set([value]))
  else present.add(value)
}
