import type { Statement } from './statement/index.js'

/** What the executor needs to know of a text. */
export interface Classified {
  readonly statement: Statement
  /** May run on a standby. */
  readonly standby: boolean
  /** Surely writes nothing, whatever its author says of where it is to run. Default false. */
  readonly onlyReads?: boolean
  /** Taken for a read on its author's word only (a hint, an option): on the primary it may still write. */
  readonly forced?: boolean
  /** The table scopes that it reads or writes (`tableScopes`); undefined: may be any. */
  readonly scopes?: readonly string[] | undefined
}

/** Tells reads from the rest. Synchronous, since it stands in the way of every statement. */
export interface Classifier {
  classify(text: string | undefined): Classified
  /** A standby refused this text: the primary gets it from now on. */
  rememberPrimary(text: string): void
  /** The catalog may have changed. */
  invalidate(): void
}
