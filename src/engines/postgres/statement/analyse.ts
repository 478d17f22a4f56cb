import { hintOf } from './hint.js'
import { isFields, list, NameCollector } from './names.js'
import { type Fields, parse } from './parser.js'
import type { Statement, Target } from './statement.js'

/** What one of the statements of a text comes to, before it is put together with the others. */
interface Part {
  readonly kind: 'read' | 'write' | 'begin' | 'end' | 'session'
  readonly ties?: boolean
  readonly transactionAfter?: 'open' | 'closed'
  readonly readOnly?: boolean
  readonly commits?: boolean
  readonly copyTo?: boolean
}

const SESSION = { kind: 'session' } as const
const TYING_SESSION = { kind: 'session', ties: true } as const

/** Statements about the connection or the transaction open on it. Whatever is in no table of this file is a write. */
const SESSION_STATEMENTS: Readonly<Record<string, Part>> = {
  PrepareStmt: TYING_SESSION,
  DeallocateStmt: TYING_SESSION,
  ListenStmt: TYING_SESSION,
  UnlistenStmt: TYING_SESSION,
  DiscardStmt: TYING_SESSION,
  LoadStmt: TYING_SESSION,
  FetchStmt: SESSION,
  ClosePortalStmt: SESSION,
  ConstraintsSetStmt: SESSION,
}

/** Writes that leave the catalog as it was. */
const WITHOUT_DDL = /^(Insert|Update|Delete|Merge|Copy|Truncate|Lock|Notify|Vacuum|CheckPoint|Execute|Explain)/

const CURSOR_WITH_HOLD = 0x20

/** Reads the facts off a text. Never throws; see `StatementCache` for the cached way. Needs `loadParser()`. */
export function analyse(text: string): Statement {
  const parsed = parse(text)
  if ('failure' in parsed) return unknownStatement(parsed.failure, hintOf(text))
  const names = new NameCollector()
  for (const statement of parsed.statements) names.collect(statement)
  const parts = parsed.statements.map(partOf)
  const kind = kindOf(parts, names)
  const targets = targetsOf(parsed.statements, names)
  const last = parts.findLast(part => part.transactionAfter !== undefined)
  return {
    kind,
    reason: kind === 'read' ? '' : reasonOf(parsed.statements, names),
    ties: names.ties || parts.some(part => part.ties),
    multi: parts.length > 1,
    transactionAfter: last?.transactionAfter ?? 'unchanged',
    readOnly: kind === 'begin' && parts[0]?.readOnly === true,
    commits: kind === 'end' && parts[0]?.commits === true,
    changesCatalog: kind === 'write' && parsed.statements.some(mayChangeCatalog),
    copyTo: parts.some(part => part.copyTo),
    hint: hintOf(text),
    ...(kind === 'read' || targets.length > 0 ? namesOf(names) : NO_NAMES),
    targets,
  }
}

/** What is assumed of a text that could not be analysed. */
export function unknownStatement(reason: string, hint?: 'primary' | 'replica'): Statement {
  const nothing = { multi: false, readOnly: false, commits: false, changesCatalog: false, copyTo: false }
  return { kind: 'unknown', reason, ties: true, transactionAfter: 'unchanged', ...nothing, hint, ...NO_NAMES, targets: [] }
}

const NOTHING_NAMED = { functions: [], operators: [], relations: [], types: [], attributes: [], fields: [] } as const
const NO_NAMES = { ...NOTHING_NAMED, showsLocks: false } as const

function namesOf(names: NameCollector) {
  return {
    functions: names.functions.list(),
    operators: names.operators.list(),
    relations: names.relations.list(),
    types: names.types.list(),
    attributes: [...names.attributes],
    fields: [...names.fields],
    showsLocks: names.showsLocks,
  }
}

/** The nodes that a statement which writes to the targets in its text, and does nothing else, may have beside those of a read. */
const CHANGING: ReadonlySet<string> = new Set(
  [
    'SelectStmt InsertStmt UpdateStmt DeleteStmt MergeStmt OnConflictClause InferClause IndexElem MergeWhenClause SetToDefault',
    'MultiAssignRef CurrentOfExpr ReturningClause ReturningOption MergeSupportFunc',
  ].flatMap(line => line.split(' ')),
)

function targetsOf(statements: readonly Fields[], names: NameCollector): readonly Target[] {
  const [statement = {}, ...others] = statements
  const tags = [...Object.keys(statement), ...names.foreign]
  return others.length === 0 && tags.every(tag => CHANGING.has(tag)) ? names.targets : []
}

function kindOf(parts: readonly Part[], names: NameCollector): Part['kind'] | 'unknown' {
  const [first] = parts
  if (first === undefined) return 'unknown'
  if (parts.length === 1 && first.kind !== 'read') return first.kind
  if (parts.every(part => part.kind === 'read')) return onlyReads(names) ? 'read' : 'write'
  return parts.every(part => part.kind === 'session') ? 'session' : 'write'
}

/** The statements that count as reads are made of these; what else was found inside is not a read's. */
const READ_STATEMENTS: ReadonlySet<string> = new Set(['SelectStmt', 'ExplainStmt', 'VariableShowStmt', 'CopyStmt'])

function onlyReads(names: NameCollector): boolean {
  return [...names.foreign].every(tag => READ_STATEMENTS.has(tag))
}

function reasonOf(statements: readonly Fields[], names: NameCollector): string {
  if (statements.length === 0) return 'it holds no statement'
  const tags = [...statements.flatMap(Object.keys), ...names.foreign]
  const culprit = tags.find(tag => !READ_STATEMENTS.has(tag)) ?? tags[0]
  return `it is more than a read (${culprit})`
}

function mayChangeCatalog(statement: Fields): boolean {
  const [tag = '', fields] = Object.entries(statement)[0] ?? []
  if (tag === 'SelectStmt') return isFields(fields) && fields.intoClause !== undefined
  return partOf(statement).kind === 'write' && !WITHOUT_DDL.test(tag)
}

function partOf(statement: Fields): Part {
  const [tag = '', value] = Object.entries(statement)[0] ?? []
  const fields = isFields(value) ? value : {}
  switch (tag) {
    case 'SelectStmt':
    case 'VariableShowStmt':
      return { kind: 'read' }
    case 'ExplainStmt':
      // With ANALYZE or not: an EXPLAIN is as much a read as what it explains. Plain EXPLAIN runs stable functions, too.
      return { kind: isFields(fields.query) && fields.query.SelectStmt !== undefined ? 'read' : 'write' }
    case 'CopyStmt':
      return fields.is_from || fields.is_program || fields.filename !== undefined
        ? { kind: 'write' }
        : { kind: 'read', copyTo: true }
    case 'VariableSetStmt':
      return fields.is_local || isSetTransaction(fields) ? SESSION : TYING_SESSION
    case 'DeclareCursorStmt':
      return Number(fields.options) & CURSOR_WITH_HOLD ? TYING_SESSION : SESSION
    case 'TransactionStmt':
      return transactionPart(fields)
    default:
      return SESSION_STATEMENTS[tag] ?? { kind: 'write' }
  }
}

/** SET TRANSACTION …, as opposed to SET SESSION CHARACTERISTICS AS TRANSACTION … and to a setting of such a name. */
function isSetTransaction({ kind, name }: Fields): boolean {
  return kind === 'VAR_SET_MULTI' && name !== 'SESSION CHARACTERISTICS'
}

function transactionPart(fields: Fields): Part {
  switch (fields.kind) {
    case 'TRANS_STMT_BEGIN':
    case 'TRANS_STMT_START':
      return { kind: 'begin', transactionAfter: 'open', readOnly: isReadOnly(list(fields.options)) }
    case 'TRANS_STMT_COMMIT':
    case 'TRANS_STMT_ROLLBACK':
    case 'TRANS_STMT_PREPARE': {
      const transactionAfter = fields.chain === true ? 'open' : 'closed'
      return { kind: 'end', transactionAfter, commits: fields.kind !== 'TRANS_STMT_ROLLBACK' }
    }
    case 'TRANS_STMT_SAVEPOINT':
    case 'TRANS_STMT_RELEASE':
    case 'TRANS_STMT_ROLLBACK_TO':
      return SESSION
    default:
      // COMMIT PREPARED and ROLLBACK PREPARED finish somebody's transaction without ending one here.
      return { kind: 'write' }
  }
}

/** Every READ ONLY / READ WRITE given says read only, and every isolation level given is one that a standby has. */
function isReadOnly(options: readonly unknown[]): boolean {
  let readOnly = false
  for (const each of options) {
    const option = isFields(each) && isFields(each.DefElem) ? each.DefElem : {}
    const value = isFields(option.arg) && isFields(option.arg.A_Const) ? option.arg.A_Const : {}
    if (option.defname === 'transaction_read_only') {
      readOnly = isFields(value.ival) && value.ival.ival === 1
      if (!readOnly) return false
    }
    if (option.defname === 'transaction_isolation' && isFields(value.sval) && value.sval.sval === 'serializable') return false
  }
  return readOnly
}
