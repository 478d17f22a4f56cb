import { loadModule, parseSync, SqlError, scanSync } from 'libpg-query'
import { ConfigurationError } from '../../../core/errors.js'

/**
 * PostgreSQL's own parser, compiled to WebAssembly, behind the two things it cannot be trusted with: deep nesting, and
 * going on after it has crashed.
 *
 * Cost of a parse with its analysis (Node 20, one core of a small machine, warm): 45 µs for `select * from photos where
 * id = $1`, 170 µs for a join of five tables, 1.6 ms for an INSERT of 1,000 parameters, 13 ms for 64 kB of numbers.
 * Hence the cache by text.
 */

/** A node of the parse tree, or its fields. Tags of node types begin with a capital, names of fields do not. */
export type Fields = Readonly<Record<string, unknown>>

/**
 * Loads the parser (about 2 MB of WebAssembly, some 20 ms). Idempotent. Await it before anything here is used.
 */
export async function loadParser(): Promise<void> {
  await loadModule()
  loaded = true
}

let loaded = false

/** Throws `ConfigurationError` unless `loadParser()` has finished. */
export function requireParser(): void {
  if (!loaded) throw new ConfigurationError('The SQL parser is not loaded. Await loadParser() before the first statement.')
}

/**
 * The parser recurses, so deep nesting overflows the stack *inside* the WebAssembly module, which never gets that part
 * of its own stack back: measured, 30 such crashes leave it unusable. The shortest text that overflows is 15 kB (of
 * `1+1+1+…`), so a text of this many characters cannot.
 */
const SAFE_CHARACTERS = 8 * 1024
const SAFE_DEPTH = 500
const TOLERATED_CRASHES = 5
/** What a stack overflow and a trap of WebAssembly are called. */
const CRASH = /^(RangeError|RuntimeError)$/

let crashes = 0

/** The statements of a text, or why there are none. Never throws. */
export function parse(text: string): { readonly statements: readonly Fields[] } | { readonly failure: string } {
  if (text === '') return { statements: [] }
  if (crashes > TOLERATED_CRASHES) return { failure: 'the parser has crashed too often and is no longer used' }
  // The module reads up to the first NUL, so it would judge only a part of such a text.
  if (text.includes('\0')) return { failure: 'it contains a NUL character' }
  if (!isShallow(text)) return { failure: 'it may be nested too deeply to be parsed' }
  try {
    const statements = parseSync(text).stmts ?? []
    return { statements: statements.map(each => (each.stmt ?? {}) as Fields) }
  } catch (error) {
    return { failure: failureOf(error) }
  }
}

/** The comments of a text with their delimiters, or undefined when they cannot be told. Never throws. */
export function comments(text: string): readonly string[] | undefined {
  try {
    const { tokens } = scanSync(text)
    return tokens.filter(token => token.tokenName === 'C_COMMENT' || token.tokenName === 'SQL_COMMENT').map(token => token.text)
  } catch (error) {
    failureOf(error)
    return undefined
  }
}

function failureOf(error: unknown): string {
  if (error instanceof SqlError) return `it does not parse: ${error.message}`
  if (error instanceof Error && CRASH.test(error.name)) crashes++
  return 'the parser failed on it'
}

/**
 * What nests does so by brackets, or without a comma in between (`1+1+…`, `not not …`, `union`, `join`). Commas in
 * strings make this an estimate; TOLERATED_CRASHES is there for what slips through.
 */
function isShallow(text: string): boolean {
  if (text.length <= SAFE_CHARACTERS) return true
  let depth = 0
  let lastComma = 0
  for (let at = 0; at < text.length; at++) {
    const character = text.charCodeAt(at)
    if (character === 0x28 || character === 0x5b) depth++
    else if (character === 0x29 || character === 0x5d) depth--
    else if (character === 0x2c) lastComma = at
    if (depth > SAFE_DEPTH || at - lastComma > SAFE_CHARACTERS) return false
  }
  return true
}
