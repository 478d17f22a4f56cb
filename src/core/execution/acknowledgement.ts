/** Holds the acknowledgement of a committed write until its policy is reached. No connection is held meanwhile. */
import type { Clock } from '../clock.js'
import type { Cluster } from '../cluster.js'
import { publish } from '../events.js'
import type { Monitor } from '../monitor.js'
import type { Position } from '../position.js'
import type { Router } from '../router.js'
import type { LastWrite } from '../session.js'
import { NotAppliedError, type WritePolicy } from '../write-policy.js'

export interface AcknowledgementContext {
  readonly cluster: Cluster
  readonly router: Pick<Router, 'waitingRoom'>
  readonly monitor: Monitor
  readonly clock: Clock
}

/**
 * What became of a committed write. Never rejects: whether the time-out is an error is for {@link throwUnreached}. A signal
 * that aborts ends the wait; the write stays committed.
 */
export async function acknowledge(
  policy: WritePolicy,
  position: Position | undefined,
  { cluster, router, monitor, clock }: AcknowledgementContext,
  signal: AbortSignal | undefined,
): Promise<LastWrite> {
  const at = position?.entries[0]
  const said = { position: position?.toString(), policy: policy.name }
  if (at === undefined) return { ...said, acknowledged: false, waitedMs: 0 }
  const startedAt = clock.now()
  let reached = policy.target.reached(cluster, at.lineage, at.offset)
  if (!reached) {
    monitor.nudge()
    const waited = router.waitingRoom.wait(at.lineage, at.offset, policy.timeoutMs, signal, policy.target)
    reached = (await waited.catch(() => 'timed-out')) === 'caught-up'
  }
  const waitedMs = clock.now() - startedAt
  publish('tidemark:acknowledged', () => ({ policy: policy.name, reached, waitedMs }))
  return { ...said, acknowledged: reached, waitedMs }
}

/** Throws {@link NotAppliedError} when the policy was not reached and says that this is an error. */
export function throwUnreached(policy: WritePolicy, write: LastWrite): void {
  if (write.acknowledged || policy.onTimeout === 'return') return
  throw new NotAppliedError(policy.name, write.position ?? 'a position that was not answered', write.waitedMs)
}
