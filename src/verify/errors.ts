import { TidemarkError } from '../core/errors.js'

/** A run could not be made, or left something behind; the message says what, and what to do about it. */
export class VerifyError extends TidemarkError {
  declare readonly code: 'TIDEMARK_VERIFY'
  constructor(message: string, options?: ErrorOptions) {
    super('TIDEMARK_VERIFY', message, options)
  }
}
