/** Making a replica deaf: it stays up and answers, and receives nothing. */
import type { ClusterNodes } from './cluster-nodes.js'
import { sendSignal } from './process-info.js'
import { until } from './until.js'

/**
 * The replay process ends the receiver when it has read that there is no upstream any more, but only once it waits for more of the
 * log: not while it is paused or sits out a delay. So the receiver is ended here. No other follows: before the replay
 * process asks for one, it reads its configuration.
 */
export async function pauseReceiver(nodes: ClusterNodes, node: string, timeoutMs: number): Promise<void> {
  const replica = nodes.replica(node)
  nodes.replicate(node, { ...nodes.replication(node), receiving: false })
  // Not pg_stat_wal_receiver, which does not show one that is about to connect.
  const receivers = `select current_setting('primary_conninfo') = '' as loaded,
    (select pid from pg_stat_activity where backend_type = 'walreceiver') as receiver`
  await nodes.connected(replica, timeoutMs, async connection => {
    const isDeaf = async () => {
      const [row] = await connection.query<{ loaded: boolean; receiver: number | null }>(receivers)
      if (!row?.loaded) return false
      if (row.receiver !== null) sendSignal(row.receiver, 'SIGTERM')
      return row.receiver === null
    }
    await until(isDeaf, { timeoutMs, describe: () => `"${node}" had stopped receiving` })
  })
}

export function resumeReceiver(nodes: ClusterNodes, node: string): void {
  nodes.replica(node)
  nodes.replicate(node, { ...nodes.replication(node), receiving: true })
}
