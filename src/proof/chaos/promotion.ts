/** A failover as an operator or a tool does it: the primary dies, a replica takes over, the old primary is rebuilt as a replica. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Cluster } from '../../testing/cluster.js'
import type { VersionRecord } from '../../testing/history/record.js'
import { untilRouters } from './routers.js'
import type { Scene } from './scene.js'
import type { PlannedFault } from './schedule.js'

const RECOGNISED_TIMEOUT_MS = 60_000

/**
 * In most, the replicas receive nothing for a moment before: what is acknowledged then is lost. The one that is not promoted must not
 * have more than the one that is, or it could not follow it; so it goes deaf first, also where nothing is to be lost.
 *
 * The old primary comes back as what it was, for a moment, when every router knows the new one. (Whoever starts then sees both. A
 * router that could reach the old one only would take it for the primary, and a token store in its tables for the only one: no
 * promotion is safe that leaves clients with an old primary alone, whatever routes them.)
 */
export async function promote(
  { cluster, routers, injected, witnessed }: Scene,
  { holdMs, variant }: PlannedFault,
): Promise<void> {
  const old = cluster.primary
  const [first, second] = [...cluster.replicas].sort()
  const [next, other] = variant < 0.5 ? [first!, second!] : [second!, first!]
  const [loses, dies] = [(variant * 10) % 1 < 0.7, (variant * 100) % 1 < 0.6]
  await cluster.pauseReceiver(other)
  if (loses) await cluster.pauseReceiver(next)
  await sleep(holdMs / 4)
  await (dies ? cluster.kill(old) : cluster.freeze(old))
  await sleep(holdMs / 4)
  await cluster.promote(next)
  await cluster.resumeReceiver(other)
  injected('promote')
  const isNew = ({ node, role, usable }: { readonly node: string; readonly role: unknown; readonly usable: boolean }) =>
    node === next && role === 'primary' && usable
  await untilRouters(
    routers,
    status => status.some(isNew),
    `every router knew that ${next} is the primary`,
    RECOGNISED_TIMEOUT_MS,
  )
  await (dies ? cluster.start(old) : cluster.thaw(old))
  await sleep(holdMs / 4)
  // What was lost with it somebody may have read: here it is still told what each value had replaced.
  witnessed(await versionsOn(cluster, old))
  await cluster.rejoin(old)
  injected('rejoin')
}

/** What a server knows of all versions. */
export async function versionsOn(cluster: Cluster, node: string): Promise<VersionRecord[]> {
  const rows = await cluster.query<{ key: string; value: string; prev: string | null }>(
    node,
    'SELECT key, value, prev FROM audit',
  )
  return rows.map(row => ({ type: 'version', ...row }))
}
