import { setTimeout as sleep } from 'node:timers/promises'
import { ClusterTimeoutError } from './errors.js'

const POLL_INTERVAL_MS = 10

export interface UntilOptions {
  readonly timeoutMs: number
  /** Completes "waited in vain until …"; asked only when the time is up. */
  readonly describe: () => string
  readonly signal?: AbortSignal | undefined
}

/**
 * Polls until `condition` holds.
 * Throws `ClusterTimeoutError` after `timeoutMs`, the signal's reason when it aborts, and whatever `condition` throws.
 */
export async function until(condition: () => boolean | Promise<boolean>, options: UntilOptions): Promise<void> {
  const { timeoutMs, describe, signal } = options
  const startedAt = performance.now()
  while (!(await condition())) {
    signal?.throwIfAborted()
    const waitedMs = performance.now() - startedAt
    if (waitedMs > timeoutMs) throw new ClusterTimeoutError(describe(), waitedMs)
    await sleep(POLL_INTERVAL_MS)
  }
}
