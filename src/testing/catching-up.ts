/** Waiting until replicas have applied what the primary had written. */
import type { AdminConnection } from './admin-connection.js'
import type { ClusterNodes } from './cluster-nodes.js'
import { lastRecordEnd } from './last-record-end.js'
import { hasReplayed, type LogPosition } from './replay-control.js'
import { until } from './until.js'

export async function catchUp(nodes: ClusterNodes, node: string | undefined, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs
  const isAwake = (name: string) => nodes.server(name).running && !nodes.server(name).frozen
  const replicas = node === undefined ? [...nodes.replicas.keys()].filter(isAwake) : [node]
  const primary = nodes.runningServer(nodes.primary)
  const target = await nodes.connected(primary, timeoutMs, endOfLog)
  for (const name of replicas) await reach(nodes, name, target, deadline)
}

async function endOfLog(primary: AdminConnection): Promise<LogPosition> {
  // Not from the control file, which names the old timeline until the first checkpoint after a promotion.
  const sql = `select lsn, ('x' || left(pg_walfile_name(lsn), 8))::bit(32)::int as timeline from pg_current_wal_insert_lsn() as lsn`
  const [row] = await primary.query<{ lsn: string; timeline: number }>(sql)
  return { lsn: lastRecordEnd(row!.lsn), timeline: row!.timeline }
}

/** The upstream first: that a replica takes its log from there says something only when that one is on the primary's history. */
async function reach(nodes: ClusterNodes, name: string, target: LogPosition, deadline: number): Promise<void> {
  const replica = nodes.replica(name)
  const { upstream } = nodes.replication(name)
  const cascades = nodes.replicas.has(upstream.name)
  // A standby sends on what it has received, applied or not. So the upstream need not have applied the target itself.
  if (cascades) await reach(nodes, upstream.name, { ...target, lsn: 0n }, deadline)
  // One that still follows a former primary never streams from the present one, and so is never there.
  const source = cascades ? upstream : nodes.runningServer(nodes.primary)
  const remainingMs = () => Math.max(1, deadline - performance.now())
  await nodes.connected(source, remainingMs(), onSource =>
    nodes.connected(replica, remainingMs(), async onReplica => {
      const condition = () => hasReplayed(onSource, onReplica, name, target)
      const describe = () => `"${name}" had applied what "${nodes.primary}" had written, by way of "${upstream.name}"`
      await until(condition, { timeoutMs: deadline - performance.now(), describe })
    }),
  )
}
