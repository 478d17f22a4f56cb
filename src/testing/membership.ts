/** How nodes come into a cluster and change their roles. */
import { rm } from 'node:fs/promises'
import { ConfigurationError } from '../core/errors.js'
import { cloneRunning } from './cluster-files.js'
import { type ClusterNodes, follow } from './cluster-nodes.js'
import { PostgresServer } from './postgres-server.js'
import { until } from './until.js'

export async function promote(nodes: ClusterNodes, node: string, repoint: boolean, timeoutMs: number): Promise<void> {
  const promoted = nodes.replica(node)
  await nodes.connected(promoted, timeoutMs, async connection => {
    await connection.query('select pg_promote(wait => false)')
    const isPrimary = async () =>
      (await connection.query<{ done: boolean }>('select not pg_is_in_recovery() as done'))[0]?.done === true
    await until(isPrimary, { timeoutMs, describe: () => `"${node}" was the primary` })
  })
  nodes.primary = node
  nodes.replicas.delete(node)
  promoted.settings.clear()
  if (!repoint) return
  for (const [name, replication] of nodes.replicas) {
    // One that streams from a replica, or from the one promoted, follows the new primary by following its upstream.
    const { upstream } = replication
    if (upstream === promoted || nodes.replicas.has(upstream.name)) continue
    nodes.replicate(name, { ...replication, upstream: promoted })
  }
}

export async function addReplica(nodes: ClusterNodes, from: string | undefined, timeoutMs: number): Promise<string> {
  const primary = nodes.runningServer(nodes.primary)
  const upstream = from === undefined || from === nodes.primary ? primary : nodes.replica(from)
  const server = new PostgresServer(nodes.nextReplica(), nodes.parts.environment)
  await copyAndStart(nodes, server, upstream, timeoutMs)
  return server.name
}

export async function rejoin(nodes: ClusterNodes, node: string, timeoutMs: number): Promise<void> {
  const server = nodes.server(node)
  if (node === nodes.primary) {
    throw new ConfigurationError(`rejoin: "${node}" is the primary, and there is no other to follow. Promote a replica first.`)
  }
  const primary = nodes.runningServer(nodes.primary)
  // Nothing of it is kept, so there is nothing that an orderly end would be good for.
  await server.shutDown('immediate', { timeoutMs })
  await rm(server.dataDirectory, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 })
  server.settings.clear()
  await copyAndStart(nodes, server, primary, timeoutMs)
}

/** Makes a server a new replica. Copied from the primary, whoever it follows: only a primary takes a backup without waiting for one. */
async function copyAndStart(
  nodes: ClusterNodes,
  server: PostgresServer,
  upstream: PostgresServer,
  timeoutMs: number,
): Promise<void> {
  const { environment, password } = nodes.parts
  const primary = nodes.runningServer(nodes.primary)
  follow(server, upstream, password)
  await nodes.connected(primary, timeoutMs, connection =>
    cloneRunning(primary.dataDirectory, server.dataDirectory, connection, environment),
  )
  await server.start({ timeoutMs })
  await nodes.add(server, upstream)
}
