/** A name as written in SQL. Without a schema, the server would search; Tidemark considers every schema instead. */
export interface Name {
  readonly schema: string | undefined
  readonly name: string
}

/** A relation that a statement writes to. */
export interface Target extends Name {
  /** Only by INSERT, and without ON CONFLICT DO UPDATE. */
  readonly inserts: boolean
}

/**
 * What a text does, as far as the text alone can tell:
 *
 * - `read`: only SELECT, VALUES, TABLE, SHOW, EXPLAIN of those, or COPY … TO STDOUT. Whether it may run on a standby
 *   still depends on the functions, operators, types and relations that it names: ask `standbyVerdict`.
 * - `write`: it writes, locks, calls a procedure, runs something prepared, or changes the schema.
 * - `begin`, `end`: exactly one statement, which begins or ends a transaction.
 * - `session`: it speaks only to the state of its connection or of the transaction open there (SET, LISTEN, PREPARE,
 *   SAVEPOINT, FETCH …). It has to run where that connection is.
 * - `unknown`: it could not be parsed, was too long to be parsed, or holds something the classifier does not know.
 *
 * A text of several statements takes the most demanding kind of its parts; one that mixes reads with BEGIN or COMMIT is
 * a `write`. Anything but a `read` and a read-only `begin` belongs on the primary.
 */
export type StatementKind = 'read' | 'write' | 'begin' | 'end' | 'session' | 'unknown'

/** Facts about one SQL text which depend on nothing but the text. Immutable: parse once, share freely. */
export interface Statement {
  readonly kind: StatementKind
  /** Why it is not a `read`, in words. Empty for a read. */
  readonly reason: string
  /**
   * It leaves state behind on its connection: SET, LISTEN, PREPARE, a session's advisory lock, a temporary table … Also set
   * for a text that could not be parsed. What functions, procedures and DO blocks do inside does not show in a text.
   */
  readonly ties: boolean
  /** The text holds more than one statement. */
  readonly multi: boolean
  /** Whether a transaction block is open once the text has run without an error. `unchanged`: as before. */
  readonly transactionAfter: 'unchanged' | 'open' | 'closed'
  /** `begin` only: READ ONLY was asked for, and no isolation level that a standby does not offer (SERIALIZABLE). */
  readonly readOnly: boolean
  /** `end` only: COMMIT, END or PREPARE TRANSACTION, as opposed to ROLLBACK or ABORT. */
  readonly commits: boolean
  /** Once run, it may have changed the catalog (DDL, CALL, DO): time to load a new `Catalog`. */
  readonly changesCatalog: boolean
  /** COPY … TO STDOUT is among the statements: a read whose rows arrive in the copy sub-protocol. */
  readonly copyTo: boolean
  /** A comment of its author: `tidemark: primary` or `tidemark: replica`. Both at once count as primary. */
  readonly hint: 'primary' | 'replica' | undefined
  /** Functions called, also those behind SQL's special syntax (`extract`, `AT TIME ZONE` …). Like all the names below: only for a `read`, or where there are `targets`. */
  readonly functions: readonly Name[]
  readonly operators: readonly Name[]
  /** Relations read or written; names of WITH queries are left out where they are in scope. */
  readonly relations: readonly Name[]
  /** Types of casts, column definitions and the like. */
  readonly types: readonly Name[]
  /** What follows `relation.`: a column, or a function called with the row. */
  readonly attributes: readonly string[]
  /** What follows `(expression).`: a field of a composite value, or a function or cast applied to any value. */
  readonly fields: readonly string[]
  /** It names `xmax`, where a row shows who locks it. */
  readonly showsLocks: boolean
  /**
   * What INSERT, UPDATE, DELETE and MERGE write to by their text, those in WITH included. Empty unless the text is one
   * statement made of nothing but these and SELECT.
   */
  readonly targets: readonly Target[]
}
