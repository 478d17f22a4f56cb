/** Brings the simulated servers back to one primary that all others follow, as an operator would. */
import type { SimulatedCluster } from '../../engines/simulated/cluster.js'
import type { Server } from '../../engines/simulated/server.js'
import type { SimWorld } from './sim-world.js'

/**
 * Whatever is out of order by now: old primaries, standbys that follow them, and such as cannot follow. The primary is the one of
 * the latest timeline, whatever state it is in: no operator goes back to an older history. Idempotent.
 */
export function tidyRoles(world: SimWorld): void {
  const { physical: cluster } = world
  if (cluster === undefined) return
  const primary = latestPrimary(cluster)
  if (primary.state !== 'running') world.revive(primary.id)
  for (const id of cluster.ids) {
    const server = cluster.server(id)
    if (server === primary) continue
    if (!server.recovering || hasLeft(server, primary)) cluster.rebuild(id, { from: primary.id })
    else if (server.receiver.upstream !== primary.id) cluster.follow(id, primary.id)
  }
}

/** Everybody is running, each in his role. */
export function mendAll(world: SimWorld): void {
  tidyRoles(world)
  const { cluster } = world
  for (const id of cluster.ids) if (cluster.server(id).state !== 'running') world.revive(id)
}

/** There always is one: what was promoted is no standby any more, and what was not still has the first. */
function latestPrimary(cluster: SimulatedCluster): Server {
  const primaries = cluster.ids.map(id => cluster.server(id)).filter(({ recovering }) => !recovering)
  return primaries.reduce((latest, each) => (each.wal.timeline > latest.wal.timeline ? each : latest))
}

/** Whether a standby has applied what is not part of the primary's history. */
function hasLeft(standby: Server, primary: Server): boolean {
  const { applied } = standby
  if (standby.wal.timeline > primary.wal.timeline) return true
  return applied > 0 && standby.wal.records[applied - 1] !== primary.wal.records[applied - 1]
}
