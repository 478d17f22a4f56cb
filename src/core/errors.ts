/**
 * Every error Tidemark throws. One base class, a stable literal `code` on each, typed fields, `cause` kept.
 * Match on `code` (or `instanceof`), never on the message.
 */

/** Base of all errors thrown by Tidemark itself; errors of the driver pass through untouched. */
export class TidemarkError extends Error {
  /** Stable, machine-readable; never changes for a given condition. */
  readonly code: string

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
    this.code = code
  }
}

/** Configuration or arguments that cannot work. The message says what was wrong, what was expected and what to do. */
export class ConfigurationError extends TidemarkError {
  declare readonly code: 'TIDEMARK_CONFIGURATION'
  constructor(message: string, options?: ErrorOptions) {
    super('TIDEMARK_CONFIGURATION', message, options)
  }
}

/** Loads an optional peer. Rejects with {@link MissingPeerError} when it is not installed. */
export async function loadPeer<M>(load: () => Promise<M>, peer: string, neededFor: string): Promise<M> {
  try {
    return await load()
  } catch (cause) {
    throw new MissingPeerError(peer, neededFor, { cause })
  }
}

/** An optional peer dependency is needed and not installed. */
export class MissingPeerError extends TidemarkError {
  declare readonly code: 'TIDEMARK_MISSING_PEER'
  /** The npm package to install. */
  readonly peer: string
  constructor(peer: string, neededFor: string, options?: ErrorOptions) {
    super(
      'TIDEMARK_MISSING_PEER',
      `${neededFor} needs the package "${peer}", which is not installed. Run: npm install ${peer}`,
      options,
    )
    this.peer = peer
  }
}
