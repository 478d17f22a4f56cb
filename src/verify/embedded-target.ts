import { parseLsn } from '../engines/postgres/lsn.js'
import type { Cluster } from '../testing/index.js'
import { Balancer } from './balancer.js'
import { despiteConflicts } from './despite-conflicts.js'
import type { Target } from './target.js'

/**
 * A cluster of the testing kit, for this run alone: a primary, two replicas, and a balancer in front of these.
 * Throws as `startCluster` does.
 */
export async function embeddedTarget(signal: AbortSignal): Promise<Target> {
  // The kit is loaded only by whoever uses it.
  const { startCluster } = await import('../testing/index.js')
  const cluster = await startCluster({ replicas: 2, signal })
  try {
    const balancer = await Balancer.listen(cluster.replicas.map(node => Number(new URL(cluster.url(node)).port)))
    const balancedUrl = new URL(cluster.url('replica-1'))
    balancedUrl.port = String(balancer.port)
    return {
      nodes: cluster.nodes.map(name => ({ name, url: cluster.url(name) })),
      balancedUrl: balancedUrl.href,
      lag: {
        delay: (node, ms) => despiteConflicts(() => cluster.lag(node, ms)),
        pause: node => despiteConflicts(() => cluster.pause(node)),
        resume: node => despiteConflicts(() => cluster.resume(node)),
      },
      failOver: () => failOver(cluster),
      changed: [],
      async close() {
        await balancer.close()
        await cluster.close()
      },
    }
  } catch (error) {
    await cluster.close()
    throw error
  }
}

/** The primary crashes; whatever it had not sent is gone. */
async function failOver(cluster: Cluster): Promise<void> {
  await cluster.kill(cluster.primary)
  await cluster.promote(await mostAdvanced(cluster))
}

/** Promoting any other would lose what this one has. */
async function mostAdvanced(cluster: Cluster): Promise<string> {
  const sql = 'select greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::text as lsn'
  const received = await Promise.all(
    cluster.replicas.map(async node => {
      const [row] = await despiteConflicts(() => cluster.query<{ lsn: string }>(node, sql))
      return { node, lsn: parseLsn(row!.lsn) }
    }),
  )
  return received.reduce((best, each) => (each.lsn > best.lsn ? each : best)).node
}
