/** Brings the simulated servers back to one primary that all others follow, as an operator would. */
import type { SimulatedCluster } from '../../engines/simulated/cluster.js'
import type { Server } from '../../engines/simulated/server.js'
import type { SimWorld } from './sim-world.js'

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

/** Everybody is running and nothing stands in anybody's way; then the roles. */
export function mendAll(world: SimWorld): void {
  const { cluster } = world
  for (const id of cluster.ids) {
    if (cluster.server(id).state !== 'running') world.revive(id)
  }
  if (cluster.primary === undefined) cluster.promote(cluster.ids[0]!)
  tidyRoles(cluster)
}

/** Whether a standby has applied what is not part of the primary's history. */
function hasLeft(standby: Server, primary: Server): boolean {
  const { applied } = standby
  if (standby.wal.timeline > primary.wal.timeline) return true
  return applied > 0 && standby.wal.records[applied - 1] !== primary.wal.records[applied - 1]
}
