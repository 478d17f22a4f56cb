import { type ParseArgsConfig, parseArgs } from 'node:util'
import { UsageError } from './errors.js'
import type { Terminal } from './terminal.js'

/** The exit codes of all commands; `INCONCLUSIVE` is for `demo --once` and `verify`, `UNUSABLE` for the input of `check`. */
export const EXIT = Object.freeze({ OK: 0, FAILED: 1, USAGE: 2, INCONCLUSIVE: 2, UNUSABLE: 2 })

export interface Command {
  readonly name: string
  /** One line for the list of commands. */
  readonly summary: string
  /** What `--help` prints. */
  readonly help: string
  /** Resolves to the exit code. Throws {@link UsageError} when the arguments cannot be understood. */
  run(args: readonly string[], terminal: Terminal): Promise<number>
}

export type Options = NonNullable<ParseArgsConfig['options']>

export type Parsed<O extends Options> = ReturnType<typeof parseArgs<{ options: O; allowPositionals: true; strict: true }>>

/** Throws {@link UsageError} for an option that is not known, or lacks its value. */
export function parse<const O extends Options>(args: readonly string[], options: O): Parsed<O> {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true, strict: true })
  } catch (error) {
    // Node goes on to explain how to pass such a thing as a positional argument, which nobody wants here.
    const [problem] = (error instanceof Error ? error.message : String(error)).split('. To specify')
    throw new UsageError(problem ?? '', { cause: error })
  }
}

/** Throws {@link UsageError} when there are any. */
export function refusePositionals(positionals: readonly string[]): void {
  if (positionals.length > 0) throw new UsageError(`Unexpected argument '${positionals[0]}'`)
}

/** The value of a numeric option. Throws {@link UsageError} unless it is a whole number within the bounds. */
export function wholeNumber(option: string, value: string | undefined, fallback: number, min: number, max: number): number {
  if (value === undefined) return fallback
  const number = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN
  if (!(number >= min && number <= max)) {
    throw new UsageError(`${option} must be a whole number from ${min} to ${max}, not '${value}'`)
  }
  return number
}
