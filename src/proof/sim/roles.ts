/** Brings the simulated servers back to one primary that all others follow, as an operator would. */
import type { Server } from '../../engines/simulated/server.js'
import type { SimulatedCluster } from '../../engines/simulated/simulated-cluster.js'

/** Whatever is out of order by now: old primaries, standbys that follow them, and such as cannot follow. Idempotent. */
export function tidyRoles(cluster: SimulatedCluster): void {
  const primary = cluster.primary
  if (primary === undefined) return
  for (const id of cluster.ids) {
    const server = cluster.server(id)
    if (server === primary) continue
    const cannotFollow = !server.recovering || hasLeft(server, primary)
    if (cannotFollow) cluster.rebuild(id)
    else if (server.receiver.upstream !== primary.id) cluster.follow(id, primary.id)
  }
}

/** Everybody is running, and there is a primary. */
export function wakeAll(cluster: SimulatedCluster): void {
  for (const id of cluster.ids) {
    cluster.thaw(id)
    cluster.resumeReplay(id)
    cluster.delayReplay(id, 0)
    if (cluster.server(id).state !== 'running') cluster.restart(id)
  }
  if (cluster.primary === undefined) cluster.promote(cluster.ids[0]!)
}

/** Whether a standby has applied what is not part of the primary's history. */
function hasLeft(standby: Server, primary: Server): boolean {
  const { applied } = standby
  if (standby.wal.timeline > primary.wal.timeline) return true
  return applied > 0 && standby.wal.records[applied - 1] !== primary.wal.records[applied - 1]
}
