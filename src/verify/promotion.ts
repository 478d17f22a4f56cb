import { setTimeout as sleep } from 'node:timers/promises'
import { primary, replica, wait } from '../core/ladder.js'
import { VerifyError } from './errors.js'
import type { Pace } from './pace.js'
import type { Path } from './path.js'
import { sessionClient } from './paths/session-client.js'
import type { Routers } from './routers.js'
import type { Target } from './target.js'
import { usersOf, type WorkloadContext } from './workload.js'

const NOTICED_WITHIN_MS = 30_000
const POLL_MS = 20
const LAG_MS = 100
/** A little longer than the replicas lag, so that they serve. */
const LADDER = [replica(), wait({ budgetMs: 5 * LAG_MS }), primary()]

export interface PromotionOptions {
  readonly target: Target
  readonly failOver: () => Promise<void>
  readonly routers: Routers
  readonly sessions: number
  readonly signal: AbortSignal
  /** For the rounds afterwards: their time starts when there is a primary again. */
  readonly paced: () => Pace
}

/**
 * Users who have written when the primary crashes, and read back from what was promoted; then the usual rounds go on there. What
 * they wrote last the replicas had not applied yet.
 */
export async function runPromotion(
  { target, failOver, routers, sessions, signal, paced }: PromotionOptions,
  context: WorkloadContext,
): Promise<void> {
  const db = routers.shared
  const before = db.status().find(({ role }) => role === 'primary')?.node
  const path: Path = {
    name: 'after promotion',
    client: () => sessionClient(db.session(undefined, { ladder: LADDER }), context.scratch),
  }
  const delayReplicas = () => {
    const replicas = db.status().filter(({ role, usable }) => role === 'replica' && usable)
    return Promise.all(replicas.map(({ node }) => target.lag?.delay(node, LAG_MS)))
  }
  await delayReplicas()
  const users = usersOf(path, sessions, context)
  await Promise.all(users.map(user => user.write()))
  await failOver()
  const deadline = performance.now() + NOTICED_WITHIN_MS
  while (!db.status().some(({ node, role, usable }) => node !== before && role === 'primary' && usable)) {
    signal.throwIfAborted()
    if (performance.now() > deadline) throw new VerifyError(`no router had found the new primary after ${NOTICED_WITHIN_MS} ms`)
    await sleep(POLL_MS)
  }
  await Promise.all(users.map(user => user.read()))
  await delayReplicas()
  const pace = paced()
  await Promise.all(users.map(user => user.run(pace)))
}
