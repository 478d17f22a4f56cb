import { ConfigurationError } from '../core/errors.js'
import { type AdminConnection, withConnection } from './admin-connection.js'
import type { Links } from './links.js'
import type { PostgresServer, ServerEnvironment } from './postgres-server.js'
import type { Workspace } from './workspace.js'

/** What a cluster is made of, apart from its nodes. */
export interface ClusterParts {
  readonly workspace: Workspace
  readonly environment: ServerEnvironment
  readonly password: string
  readonly links: Links
}

/** How a replica gets the log. */
export interface Replication {
  /** Whom it streams from. */
  readonly upstream: PostgresServer
  /** False while it is made to receive nothing. */
  readonly receiving: boolean
}

/** The nodes of a cluster, their roles, who streams from whom, and the way to each. */
export class ClusterNodes {
  readonly parts: ClusterParts
  readonly servers = new Map<string, PostgresServer>()
  /** The present replicas; former primaries are in `servers` only. A forest: upstreams lead to the primary, or to a former one. */
  readonly replicas = new Map<string, Replication>()
  primary = ''
  #lastReplica = 0
  #closing: Promise<void> | undefined

  constructor(parts: ClusterParts) {
    this.parts = parts
  }

  get names(): readonly string[] {
    return [...this.servers.keys()]
  }

  /** A name that no node has had. */
  nextReplica(): string {
    this.#lastReplica++
    return `replica-${this.#lastReplica}`
  }

  /** Takes in a server that has been started; with an upstream as a replica, else as the primary. */
  async add(server: PostgresServer, upstream?: PostgresServer): Promise<void> {
    if (!this.servers.has(server.name)) await this.parts.links.open(server)
    this.servers.set(server.name, server)
    if (upstream) this.replicas.set(server.name, { upstream, receiving: true })
    else this.primary = server.name
  }

  server(node: string): PostgresServer {
    if (this.#closing) throw new ConfigurationError('This test cluster is closed.')
    const server = this.servers.get(node)
    if (server) return server
    throw new ConfigurationError(`The test cluster has no node "${node}"; it has ${this.names.join(', ')}.`)
  }

  runningServer(node: string): PostgresServer {
    const server = this.server(node)
    if (!server.running) throw new ConfigurationError(`"${node}" is not running. Call start("${node}") first.`)
    if (server.frozen) throw new ConfigurationError(`"${node}" is frozen and cannot answer. Call thaw("${node}") first.`)
    return server
  }

  replica(node: string): PostgresServer {
    const server = this.runningServer(node)
    this.replication(node)
    return server
  }

  replication(node: string): Replication {
    const replication = this.replicas.get(node)
    if (replication) return replication
    throw new ConfigurationError(`"${node}" is not a replica; ${[...this.replicas.keys()].join(', ')} are.`)
  }

  /** Changes how a replica gets the log, from now on if it is running. */
  replicate(node: string, replication: Replication): void {
    const server = this.server(node)
    this.replicas.set(node, replication)
    if (replication.receiving) follow(server, replication.upstream, this.parts.password)
    else server.settings.set('primary_conninfo', '')
    server.reload()
  }

  url(server: PostgresServer, port = server.port): string {
    return `postgres://postgres:${encodeURIComponent(this.parts.password)}@127.0.0.1:${port}/postgres`
  }

  /** Past the links: what the kit itself has to do or to ask does not suffer from what they do to others. */
  connected<Result>(
    server: PostgresServer,
    timeoutMs: number,
    action: (connection: AdminConnection) => Promise<Result>,
  ): Promise<Result> {
    return withConnection(this.url(server), timeoutMs, action)
  }

  close(): Promise<void> {
    const { links, workspace } = this.parts
    this.#closing ??= Promise.all([links.close(), workspace.remove()]).then(() => undefined)
    return this.#closing
  }
}

/** Makes a standby stream from `upstream`, from its next start or `reload` on. Past the links, as `connected`. */
export function follow(standby: PostgresServer, upstream: PostgresServer, password: string): void {
  const quoted = password.replaceAll(/[\\']/g, '\\$&')
  const conninfo = `host=127.0.0.1 port=${upstream.port} user=postgres password='${quoted}' application_name=${standby.name}`
  standby.settings.set('primary_conninfo', `${conninfo} sslmode=disable`)
}
