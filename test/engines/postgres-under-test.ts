/** PostgreSQL, for the engine contract: real servers, the primary behind a proxy that can lose its answers. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import pg from 'pg'
import { systemClock } from '../../src/core/clock.js'
import type { Executor } from '../../src/core/execution/executor.js'
import { CatalogClassifier } from '../../src/engines/postgres/catalog-classifier.js'
import { nodeSpecs, type PostgresNodeSpec } from '../../src/engines/postgres/config.js'
import type { Lease } from '../../src/engines/postgres/connections.js'
import { postgresEngine } from '../../src/engines/postgres/postgres-engine.js'
import type { PostgresNode } from '../../src/engines/postgres/postgres-node.js'
import { loadParser } from '../../src/engines/postgres/statement/index.js'
import { Statements } from '../../src/engines/postgres/statements.js'
import {
  type Cluster,
  type ContractClient,
  type ContractCluster,
  type EngineUnderTest,
  startCluster,
} from '../../src/testing/index.js'
import { portOf, until, withPort } from '../support/database.js'
import { type TcpProxy, tcpProxy } from '../support/tcp-proxy.js'

const run = promisify(execFile)
const HELD_BACK_MS = 3_600_000
const NAME = 'tidemark-contract'

export const postgresUnderTest: EngineUnderTest<Lease, PostgresNodeSpec, PostgresNode> = {
  name: 'PostgreSQL',
  capabilities: {
    restart: true,
    rebuild: true,
    promotion: true,
    history: true,
    asynchronousCommit: true,
    boundary: true,
    unknownPosition: true,
    balanced: true,
    lostAnswer: true,
    silence: true,
    connectionCount: true,
  },
  async start() {
    await loadParser()
    const cluster = await startCluster({ replicas: 2 })
    await cluster.query('primary', 'CREATE TABLE pairs (key text PRIMARY KEY, value text)')
    await cluster.caughtUp()
    const ports = cluster.replicas.map(name => portOf(cluster.url(name)))
    return new PostgresContractCluster(
      cluster,
      await tcpProxy(portOf(cluster.url('primary'))),
      await tcpProxy(ports[0]!, connection => ports[connection % ports.length]!),
    )
  },
}

class PostgresContractCluster implements ContractCluster<Lease, PostgresNodeSpec, PostgresNode> {
  readonly primary = 'primary'
  readonly replicas = ['replica-1', 'replica-2'] as const
  readonly engine = postgresEngine(pg, systemClock, { connectTimeoutMs: 10_000 })
  readonly #cluster: Cluster
  readonly #primaryProxy: TcpProxy
  readonly #balancer: TcpProxy
  readonly #clients = new Set<CatalogClassifier>()
  readonly #paused = new Set<string>()

  constructor(cluster: Cluster, primaryProxy: TcpProxy, balancer: TcpProxy) {
    this.#cluster = cluster
    this.#primaryProxy = primaryProxy
    this.#balancer = balancer
  }

  spec(node: string): PostgresNodeSpec {
    const direct = this.#cluster.url(node)
    return specOf({ name: node, url: node === this.primary ? withPort(direct, this.#primaryProxy.port) : direct })
  }

  balanced(): PostgresNodeSpec {
    return specOf({ name: 'readers', url: withPort(this.#cluster.url('replica-1'), this.#balancer.port), balanced: true })
  }

  client(executor: Executor<Lease, PostgresNode>): ContractClient {
    const { context } = executor
    const classifier = new CatalogClassifier(
      () => [...context.nodes.values()].filter(({ node }) => node.usable),
      systemClock,
      false,
    )
    this.#clients.add(classifier)
    const loaded = classifier.refresh()
    const statements = new Statements({ executor, classifier, tableScopes: false, warn: () => {} })
    return {
      async write(session, key, value, { asynchronous = false } = {}) {
        await loaded
        // A function, so that the setting and the write are one statement, committed by itself.
        const commit = asynchronous ? 'off' : 'on'
        const text = `WITH setting AS (SELECT set_config('synchronous_commit', $3, true)) INSERT INTO pairs SELECT $1, $2 FROM setting ON CONFLICT (key) DO UPDATE SET value = excluded.value`
        await statements.run(session, text, [key, value, commit])
      },
      async read(scope, key, options) {
        await loaded
        const { rows } = await statements.run(scope, 'SELECT value FROM pairs WHERE key = $1', [key], options)
        return rows[0]?.value as string | undefined
      },
    }
  }

  async show(node: string, key: string): Promise<string | undefined> {
    const rows = await this.#cluster.query<{ value: string }>(node, 'SELECT value FROM pairs WHERE key = $1', [key])
    return rows[0]?.value
  }

  async pause(node: string): Promise<void> {
    await this.#cluster.pause(node)
    this.#paused.add(node)
  }

  async resume(node: string): Promise<void> {
    this.#paused.delete(node)
    await this.#cluster.resume(node)
  }

  async caughtUp(node?: string): Promise<void> {
    for (const each of node === undefined ? this.replicas : [node])
      if (!this.#paused.has(each)) await this.#cluster.caughtUp(each)
  }

  hang({ connection }: Lease): Promise<unknown> {
    // The server is to notice when nobody is there any more.
    const noticed = connection.query("SET client_connection_check_interval = '50ms'")
    return Promise.all([noticed, connection.query('SELECT pg_sleep(3600)')])
  }

  restart(node: string): Promise<void> {
    return this.#cluster.restart(node)
  }

  async rebuild(node: string, meanwhile: () => Promise<void>): Promise<void> {
    const [row] = await this.#cluster.query<{ data_directory: string }>(node, 'SHOW data_directory')
    const directory = row!.data_directory
    await this.#cluster.stop(node)
    await run('cp', ['-a', directory, `${directory}.older`])
    await this.#cluster.start(node)
    await this.#cluster.caughtUp()
    await meanwhile()
    // Held back from here on, so that it stays as old as the copy.
    await this.#cluster.lag(node, HELD_BACK_MS)
    await this.#cluster.stop(node)
    await run('rm', ['-rf', directory])
    await run('mv', [`${directory}.older`, directory])
    await this.#cluster.start(node)
  }

  isolate(node: string): Promise<void> {
    return this.#cluster.pauseReceiver(node)
  }

  promote(node: string): Promise<void> {
    return this.#cluster.promote(node)
  }

  async toBoundary(): Promise<void> {
    await this.#cluster.query('primary', 'SELECT pg_switch_wal()')
  }

  async unsay(node: string): Promise<void> {
    await this.#cluster.pauseReceiver(node)
    await until(async () => (await this.#cluster.query(node, 'SELECT 1 FROM pg_stat_wal_receiver')).length === 0, 'no receiver')
  }

  async resay(node: string): Promise<void> {
    await this.#cluster.resumeReceiver(node)
    await this.#cluster.caughtUp(node)
  }

  async deafen(): Promise<void> {
    this.#primaryProxy.deaf = true
  }

  async disconnect(): Promise<void> {
    this.#primaryProxy.cut()
    this.#primaryProxy.deaf = false
  }

  freeze(node: string): Promise<void> {
    return this.#cluster.freeze(node)
  }

  thaw(node: string): Promise<void> {
    return this.#cluster.thaw(node)
  }

  async connections(node: string): Promise<number> {
    const count = 'SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name = $1'
    return (await this.#cluster.query<{ n: number }>(node, count, [NAME]))[0]!.n
  }

  async close(): Promise<void> {
    for (const classifier of this.#clients) classifier.stop()
    await Promise.all([this.#cluster.close(), this.#primaryProxy.close(), this.#balancer.close()])
  }
}

function specOf(node: { name: string; url: string; balanced?: boolean }): PostgresNodeSpec {
  return nodeSpecs({ nodes: [node], pool: { application_name: NAME } })[0]!
}
