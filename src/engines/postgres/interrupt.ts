import type { Lease } from './connections.js'
import { breaksConnection } from './driver-errors.js'
import type { PostgresNode } from './postgres-node.js'

/** A server that was asked to cancel gets this long to say how the statement ended, before its connection is cut. */
const GRACE_MS = 1_000

/**
 * Lets an AbortSignal end a running statement. The server is asked to cancel it, and its answer decides: a write that
 * had committed before the request arrived is reported as done, not as aborted.
 *
 * The connection goes back to its pool only when the cancel request has been dealt with: it names a backend, not a
 * statement, and must not hit the next user of that connection.
 */
export class Interrupt {
  readonly #signal: AbortSignal
  readonly #lease: Lease
  readonly #node: PostgresNode
  #cancelling: Promise<void> | undefined
  #grace: NodeJS.Timeout | undefined
  #cut = false
  readonly #onAbort = () => {
    this.#cancelling = this.#cancel()
  }

  private constructor(signal: AbortSignal, lease: Lease, node: PostgresNode) {
    this.#signal = signal
    this.#lease = lease
    this.#node = node
    signal.addEventListener('abort', this.#onAbort, { once: true })
    if (signal.aborted) this.#onAbort()
  }

  static of(signal: AbortSignal | undefined, lease: Lease, node: PostgresNode): Interrupt | undefined {
    return signal === undefined ? undefined : new Interrupt(signal, lease, node)
  }

  /** The statement has ended: gives the connection back and calls back with what the caller should see. */
  settle(spoiled: boolean, error: unknown, callback: (error: unknown) => void): void {
    this.#signal.removeEventListener('abort', this.#onAbort)
    clearTimeout(this.#grace)
    if (this.#cancelling === undefined) {
      this.#lease.release(spoiled)
      callback(error)
      return
    }
    void this.#cancelling.then(() => {
      this.#lease.release(spoiled || this.#cut)
      callback(error === undefined ? undefined : this.#signal.reason)
    })
  }

  async #cancel(): Promise<void> {
    this.#grace = setTimeout(() => this.#cutConnection(), GRACE_MS)
    // A server that cannot be asked leaves only one way to stop waiting for it.
    await this.#node.cancel(this.#lease.connection).catch(() => this.#cutConnection())
  }

  #cutConnection(): void {
    this.#cut = true
    this.#node.cut(this.#lease)
  }
}

/**
 * Gives the connection back, once it is quiet, and calls back with the error that the caller should see, if any. With
 * `discard`, or after an error of the connection, it is closed instead.
 */
export function finish(
  interrupt: Interrupt | undefined,
  lease: Lease,
  error: unknown,
  callback: (shown: unknown) => void,
  discard = false,
): void {
  const failed = error ?? undefined
  const spoiled = discard || (failed !== undefined && breaksConnection(failed))
  if (interrupt !== undefined) {
    interrupt.settle(spoiled, failed, callback)
    return
  }
  lease.release(spoiled)
  callback(failed)
}

/** {@link finish} as a promise, of the error that the caller should see; at once when nothing can interrupt. */
export function finished(
  interrupt: Interrupt | undefined,
  lease: Lease,
  error: unknown,
  discard: boolean,
): unknown | Promise<unknown> {
  let shown: unknown
  if (interrupt !== undefined) return new Promise(resolve => finish(interrupt, lease, error, resolve, discard))
  finish(undefined, lease, error, result => (shown = result), discard)
  return shown
}
