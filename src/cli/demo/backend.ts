import { randomBytes } from 'node:crypto'
import { type Driver, loadDriver } from '../../engines/postgres/driver.js'
import { type Tidemark, tidemark } from '../../engines/postgres/index.js'
import { type Cluster, startCluster } from '../../testing/index.js'
import { anyReplica, type NamedPool, onlyPrimary, type Policy, tidemarkPolicy } from './policies.js'

const SCHEMA = `
create table photos (id int generated always as identity primary key, author text not null, caption text not null);
create index on photos (author, id desc);
insert into photos (author, caption) values
  ('grace', 'The harbour at seven'), ('linus', 'Fog over the pier'), ('grace', 'Gulls'), ('mary', 'A blue boat'),
  ('linus', 'The tide is out'), ('mary', 'Lighthouse, from below')`

export interface BackendOptions {
  readonly replicas: number
  readonly lagMs: number
  readonly signal: AbortSignal
  readonly onWarning: (message: string) => void
}

/** A cluster whose replicas lag, with the photos' table in it, and the ways to read from it. */
export class Backend {
  readonly policies: readonly Policy[]
  /** The primary first. */
  readonly nodes: readonly string[]
  readonly #cluster: Cluster
  readonly #db: Tidemark
  readonly #pools: readonly NamedPool[]
  #lagMs: number
  #applyingLag: Promise<void> | undefined

  /** Starts it. Nothing is left when this rejects. */
  static async start({ replicas, lagMs, signal, onWarning }: BackendOptions): Promise<Backend> {
    const driver = await loadDriver()
    const cluster = await startCluster({ replicas, signal })
    try {
      await cluster.query('primary', SCHEMA)
      await cluster.caughtUp()
      for (const node of cluster.replicas) await cluster.lag(node, lagMs)
      const address = (node: string) => ({ url: cluster.url(node), name: node })
      const db = await tidemark({
        primary: address(cluster.primary),
        replicas: cluster.replicas.map(address),
        secret: randomBytes(32).toString('base64url'),
        // A laptop that runs a cluster and its clients stalls now and then; that is not what this shows.
        pollTimeoutMs: 5_000,
        onWarning,
      })
      return new Backend(cluster, db, driver, lagMs)
    } catch (error) {
      await cluster.close()
      throw error
    }
  }

  private constructor(cluster: Cluster, db: Tidemark, driver: Driver, lagMs: number) {
    this.#cluster = cluster
    this.#db = db
    this.#lagMs = lagMs
    this.nodes = cluster.nodes
    this.#pools = cluster.nodes.map(node => {
      const pool = new driver.Pool({ connectionString: cluster.url(node), connectionTimeoutMillis: 5_000 })
      pool.on('error', () => {}) // An idle connection that breaks is replaced.
      return { node, pool }
    })
    const [primary, ...replicas] = this.#pools
    this.policies = [anyReplica(primary!, replicas), onlyPrimary(primary!), tidemarkPolicy(db)]
  }

  /** The lag asked for last. */
  get lagMs(): number {
    return this.#lagMs
  }

  /** Makes the replicas lag by this much. Of requests in quick succession the last one wins. */
  setLag(ms: number): Promise<void> {
    this.#lagMs = ms
    this.#applyingLag ??= this.#applyLag().finally(() => {
      this.#applyingLag = undefined
    })
    return this.#applyingLag
  }

  async close(): Promise<void> {
    await this.#applyingLag?.catch(() => {})
    await this.#db.close()
    await Promise.all(this.#pools.map(({ pool }) => pool.end()))
    await this.#cluster.close()
  }

  async #applyLag(): Promise<void> {
    let applied: number
    do {
      applied = this.#lagMs
      await Promise.all(this.#cluster.replicas.map(node => this.#cluster.lag(node, applied)))
    } while (applied !== this.#lagMs)
  }
}
