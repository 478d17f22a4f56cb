import { TidemarkError } from '../core/errors.js'

/** The command line cannot be understood; the process ends with exit code 2. */
export class UsageError extends TidemarkError {
  declare readonly code: 'TIDEMARK_USAGE'
  constructor(message: string, options?: ErrorOptions) {
    super('TIDEMARK_USAGE', message, options)
  }
}

/** What went wrong, in words. A refused connection to a name with several addresses has its words one level down. */
export function describeError(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return describeError(error.errors[0])
  if (!(error instanceof Error)) return String(error)
  return error.message || String((error as NodeJS.ErrnoException).code ?? error.name)
}
