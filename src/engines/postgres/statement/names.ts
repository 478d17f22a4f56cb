import { TYING } from './builtins.js'
import type { Fields } from './parser.js'
import type { Name, Target } from './statement.js'

/** Distinct names, in no particular order. */
class NameSet {
  readonly #bySchema = new Map<string | undefined, Set<string>>()

  add({ schema, name }: Name): void {
    const names = this.#bySchema.get(schema)
    if (names === undefined) this.#bySchema.set(schema, new Set([name]))
    else names.add(name)
  }

  list(): Name[] {
    return [...this.#bySchema].flatMap(([schema, names]) => [...names].map(name => ({ schema, name })))
  }
}

/** The WITH queries that a name may refer to, innermost first. */
type Scope = { readonly name: string; readonly outer: Scope } | undefined

/** Node types that a pure read may consist of. Anything else makes it something else, so that a new one cannot slip in. */
const READING: ReadonlySet<string> = new Set(
  [
    'SelectStmt ResTarget ColumnRef ParamRef A_Const A_Star A_Expr A_Indirection A_Indices A_ArrayExpr RowExpr List String',
    'Integer Float Boolean BitString TypeCast CollateClause CollateExpr BoolExpr NullTest BooleanTest CaseExpr CaseWhen',
    'CoalesceExpr MinMaxExpr SQLValueFunction NamedArgExpr FuncCall SubLink GroupingFunc GroupingSet SortBy WindowDef',
    'RangeVar RangeSubselect RangeFunction RangeTableFunc RangeTableFuncCol RangeTableSample JoinExpr Alias ColumnDef',
    'TypeName CommonTableExpr XmlExpr XmlSerialize JsonFormat JsonReturning JsonValueExpr JsonIsPredicate JsonBehavior',
    'JsonOutput JsonArgument JsonFuncExpr JsonTablePathSpec JsonTable JsonTableColumn JsonKeyValue JsonParseExpr',
    'JsonScalarExpr JsonSerializeExpr JsonObjectConstructor JsonArrayConstructor JsonArrayQueryConstructor',
    'JsonAggConstructor JsonObjectAgg JsonArrayAgg DefElem',
  ].flatMap(line => line.split(' ')),
)

const WRITING = /^(Insert|Update|Delete|Merge)Stmt$/

/**
 * Collects from parse trees everything that the catalog has a say in. It goes by the names of fields, so that it finds a
 * function call in whatever node holds it, and keeps its own stack, so that no nesting is too deep for it.
 */
export class NameCollector {
  readonly functions = new NameSet()
  readonly operators = new NameSet()
  readonly relations = new NameSet()
  readonly types = new NameSet()
  readonly attributes = new Set<string>()
  readonly fields = new Set<string>()
  /** What is written to. A WITH query never hides these. */
  readonly targets: Target[] = []
  showsLocks = false
  /** Node types which a pure read does not have. */
  readonly foreign = new Set<string>()
  ties = false

  readonly #pending: { readonly value: unknown; readonly scope: Scope }[] = []

  collect(tree: unknown): void {
    this.#pending.push({ value: tree, scope: undefined })
    for (let next = this.#pending.pop(); next !== undefined; next = this.#pending.pop()) {
      const { value, scope } = next
      if (Array.isArray(value)) for (const each of value) this.#pending.push({ value: each, scope })
      else if (isFields(value)) this.#visit(value, scope)
    }
  }

  #visit(node: Fields, outer: Scope): void {
    const scope = isFields(node.withClause) ? this.#enter(node.withClause, outer) : outer
    this.#note(node, scope)
    for (const [key, value] of Object.entries(node)) {
      if (key === 'withClause') continue
      if (/^[A-Z]/.test(key) && !READING.has(key)) this.#noteForeign(key, value)
      this.#pending.push({ value, scope })
    }
  }

  /** A WITH query sees those before it, or all of them when it is RECURSIVE; the statement sees them all. */
  #enter(clause: Fields, outer: Scope): Scope {
    const queries = list(clause.ctes).map(each => (isFields(each) && isFields(each.CommonTableExpr) ? each.CommonTableExpr : {}))
    const scopes: Scope[] = [outer]
    for (const query of queries) scopes.push({ name: text(query.ctename), outer: scopes.at(-1) })
    const all = scopes.at(-1)
    queries.forEach((query, index) => {
      this.#pending.push({ value: query, scope: clause.recursive === true ? all : scopes[index] })
    })
    return all
  }

  #note(node: Fields, scope: Scope): void {
    if (typeof node.relname === 'string') this.#noteRelation(node, scope)
    if (node.funcname !== undefined) this.#noteFunction(node)
    if (node.names !== undefined) this.#noteNamed(this.types, node.names)
    if (typeof node.kind === 'string' && node.kind.startsWith('AEXPR_')) this.#noteExpression(node.kind, node.name)
    if (node.operName !== undefined) this.#noteNamed(this.operators, node.operName)
    if (node.useOp !== undefined) this.#noteNamed(this.operators, node.useOp)
    if (comparesByEquality(node)) this.operators.add({ schema: undefined, name: '=' })
    // `relation.name` may call the function of that name with the row, `(anything).name` with anything.
    if (node.fields !== undefined) {
      const parts = strings(node.fields)
      if (parts.includes('xmax')) this.showsLocks = true
      for (const part of parts.slice(1)) this.attributes.add(part)
    }
    if (node.indirection !== undefined) {
      for (const part of strings(node.indirection)) {
        this.fields.add(part)
        if (TYING.has(part)) this.ties = true
        if (part === 'xmax') this.showsLocks = true
      }
    }
    if (node.intoClause !== undefined) this.foreign.add('IntoClause')
  }

  #noteForeign(tag: string, node: unknown): void {
    this.foreign.add(tag)
    if (!WRITING.test(tag) || !isFields(node) || !isFields(node.relation)) return
    const { relname, schemaname } = node.relation
    const schema = typeof schemaname === 'string' ? schemaname : undefined
    this.targets.push({ schema, name: text(relname), inserts: tag === 'InsertStmt' && !updatesOnConflict(node) })
  }

  #noteRelation(node: Fields, scope: Scope): void {
    const name = text(node.relname)
    const schema = typeof node.schemaname === 'string' ? node.schemaname : undefined
    if (node.relpersistence === 't') this.ties = true
    for (let query = scope; schema === undefined && query !== undefined; query = query.outer) if (query.name === name) return
    this.#add(this.relations, { schema, name })
  }

  #noteFunction(call: Fields): void {
    const name = this.#noteNamed(this.functions, call.funcname)
    if (TYING.has(name) || (name === 'set_config' && !isLocalSetting(list(call.args)))) this.ties = true
  }

  #noteExpression(kind: string, name: unknown): void {
    if (kind.includes('BETWEEN')) for (const each of ['<', '<=', '>', '>=']) this.operators.add({ schema: undefined, name: each })
    else this.#noteNamed(this.operators, name)
  }

  #noteNamed(set: NameSet, parts: unknown): string {
    const [name = '', schema] = strings(parts).reverse()
    this.#add(set, { schema, name })
    return name
  }

  #add(set: NameSet, name: Name): void {
    set.add(name)
    if (name.schema !== undefined && isTemporarySchema(name.schema)) this.ties = true
  }
}

/** A schema of one connection's own: `pg_temp`, or one of those that it stands for. */
export const isTemporarySchema = (schema: string): boolean => /^pg_temp(_\d+)?$/.test(schema)

function updatesOnConflict({ onConflictClause: clause }: Fields): boolean {
  return clause !== undefined && !(isFields(clause) && clause.action === 'ONCONFLICT_NOTHING')
}

/** Where the grammar compares by the `=` operator without one being written. */
function comparesByEquality(node: Fields): boolean {
  const joins = node.usingClause !== undefined || node.isNatural === true
  const simpleCase = node.arg !== undefined && node.args !== undefined
  const inQuery = node.subLinkType === 'ANY_SUBLINK' && node.operName === undefined
  return joins || simpleCase || inQuery || node.cycle_col_list !== undefined
}

/** `set_config(name, value, true)`, with the third argument positional or named, lasts for the transaction only. */
function isLocalSetting(args: readonly unknown[]): boolean {
  const named = args.map(each => (isFields(each) && isFields(each.NamedArgExpr) ? each.NamedArgExpr : undefined))
  const value = named.find(each => each?.name === 'is_local')?.arg ?? args[2]
  if (!isFields(value) || !isFields(value.A_Const) || !isFields(value.A_Const.boolval)) return false
  return value.A_Const.boolval.boolval === true
}

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

/** The String nodes of a list; other elements (subscripts, `*`) are left out. */
function strings(value: unknown): string[] {
  return list(value).flatMap(each => (isFields(each) && isFields(each.String) ? [text(each.String.sval)] : []))
}
