import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import pg from 'pg'
import type { TidemarkConfig } from '../../src/engines/postgres/config.js'
import { type Tidemark, tidemark } from '../../src/engines/postgres/index.js'
import type { Outcome } from '../../src/index.js'
import { type Cluster, startCluster } from '../../src/testing/index.js'

export interface Setup {
  readonly cluster: Cluster
  readonly db: Tidemark
  /** A plain pool of each node, for looking behind Tidemark's back. */
  readonly plain: Readonly<Record<string, pg.Pool>>
  /** The name of the node that answers `inet_server_port()` with this. */
  nodeAt(port: number): string
  close(): Promise<void>
}

/** A cluster of a primary and two replicas, and a Tidemark on it whose nodes are called as the cluster's. */
export async function setUp(config: Partial<TidemarkConfig> = {}): Promise<Setup> {
  const cluster = await startCluster({ replicas: 2 })
  const node = (name: string) => ({ url: cluster.url(name), name })
  const db = await tidemark({
    primary: node('primary'),
    replicas: cluster.replicas.map(node),
    secret: 'only for tests, sixteen bytes and more',
    pool: { max: 5 },
    ...config,
  })
  const plain = Object.fromEntries(
    cluster.nodes.map(name => [name, new pg.Pool({ connectionString: cluster.url(name), max: 5 })] as const),
  )
  return {
    cluster,
    db,
    plain,
    nodeAt: port => cluster.nodes.find(name => new URL(cluster.url(name)).port === String(port))!,
    close: async () => {
      await Promise.all(Object.values(plain).map(pool => pool.end()))
      await db.close()
      await cluster.close()
    },
  }
}

/** The nodes that served the reads which Tidemark routed while `work` ran. */
export async function nodesServing(work: () => Promise<unknown>): Promise<string[]> {
  const nodes: string[] = []
  const listener = (message: unknown) => void nodes.push((message as Outcome).node)
  subscribe('tidemark:read', listener)
  try {
    await work()
  } finally {
    unsubscribe('tidemark:read', listener)
  }
  return nodes
}

export interface Authors {
  readonly authors: number
  readonly writesEach: number
}

/**
 * Several authors at work at once. Each, in a session of its own, writes and reads back at once, again and again; `check`
 * tells whether the read saw the write. Returns how many did not.
 */
export async function countMisses(
  db: Tidemark,
  { authors, writesEach }: Authors,
  check: (key: string) => Promise<boolean>,
): Promise<number> {
  let misses = 0
  const author = async (name: number) => {
    for (let turn = 0; turn < writesEach; turn++) if (!(await check(`author ${name}, write ${turn}`))) misses++
  }
  await Promise.all(Array.from({ length: authors }, (_, name) => db.session().run(() => author(name))))
  return misses
}
