import { randomBytes } from 'node:crypto'
import type { PresetName } from '../../core/presets.js'
import { type Driver, loadDriver } from '../../engines/postgres/driver.js'
import { tidemark } from '../../engines/postgres/index.js'
import { type Cluster, startCluster } from '../../testing/index.js'
import { Failover, type FailoverState } from './failover.js'
import { anyReplica, type NamedPool, onlyPrimary, type Policy, type Roles } from './policies.js'
import { TidemarkPolicy } from './tidemark-policy.js'

const SCHEMA = `
create table photos (id int generated always as identity primary key, author text not null, caption text not null);
create index on photos (author, id desc);
insert into photos (author, caption) values
  ('grace', 'The harbour at seven'), ('linus', 'Fog over the pier'), ('grace', 'Gulls'), ('mary', 'A blue boat'),
  ('linus', 'The tide is out'), ('mary', 'Lighthouse, from below')`

export interface BackendOptions {
  readonly replicas: number
  readonly lagMs: number
  /** Of the policy "Tidemark", to begin with. */
  readonly preset: PresetName
  readonly signal: AbortSignal
  readonly onWarning: (message: string) => void
}

/** A cluster whose replicas lag, with the photos' table in it, and the ways to read from it. */
export class Backend {
  readonly policies: readonly Policy[]
  /** The first primary first. */
  readonly nodes: readonly string[]
  readonly #cluster: Cluster
  readonly #tidemark: TidemarkPolicy
  readonly #failover: Failover
  readonly #pools: readonly NamedPool[]
  #lagMs: number
  #applyingLag: Promise<void> | undefined

  /** Starts it. Nothing is left when this rejects. */
  static async start({ replicas, lagMs, preset, signal, onWarning }: BackendOptions): Promise<Backend> {
    const driver = await loadDriver()
    const cluster = await startCluster({ replicas, signal })
    try {
      await cluster.query('primary', SCHEMA)
      await cluster.caughtUp()
      for (const node of cluster.replicas) await cluster.lag(node, lagMs)
      const address = (node: string) => ({ url: cluster.url(node), name: node })
      // The same under every preset: a change of preset must not forget what authors have written.
      const secret = randomBytes(32).toString('base64url')
      const policy = await TidemarkPolicy.start(preset, each =>
        tidemark({
          preset: each,
          primary: address(cluster.primary),
          replicas: cluster.nodes.filter(node => node !== cluster.primary).map(address),
          secret,
          // A laptop that runs a cluster and its clients stalls now and then; that is not what this shows.
          pollTimeoutMs: 5_000,
          onWarning,
        }),
      )
      return new Backend(cluster, policy, driver, lagMs)
    } catch (error) {
      await cluster.close()
      throw error
    }
  }

  private constructor(cluster: Cluster, policy: TidemarkPolicy, driver: Driver, lagMs: number) {
    this.#cluster = cluster
    this.#tidemark = policy
    this.#failover = new Failover(cluster, node => cluster.lag(node, this.#lagMs))
    this.#lagMs = lagMs
    this.nodes = cluster.nodes
    this.#pools = cluster.nodes.map(node => {
      const pool = new driver.Pool({ connectionString: cluster.url(node), connectionTimeoutMillis: 5_000 })
      pool.on('error', () => {}) // An idle connection that breaks is replaced.
      return { node, pool }
    })
    const roles = () => this.#roles()
    this.policies = [anyReplica(roles), onlyPrimary(roles), policy]
  }

  /** The node that is the primary, or was the last one. */
  get primary(): string {
    return this.#cluster.primary
  }

  /** The nodes that are down. */
  get down(): string[] {
    return this.nodes.filter(node => !this.#cluster.isRunning(node))
  }

  get failover(): FailoverState {
    return this.#failover.state
  }

  get preset(): PresetName {
    return this.#tidemark.preset
  }

  /** What the policy "Tidemark" is from the next request on. Rejects when no node can be used; the preset then stays. */
  usePreset(preset: PresetName): Promise<void> {
    return this.#tidemark.use(preset)
  }

  /** See {@link Failover.promote}. */
  async promote(onError: (message: string, error: unknown) => void): Promise<void> {
    await this.#failover.promote(onError)
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
    await this.#failover.ended
    await this.#tidemark.close()
    await Promise.all(this.#pools.map(({ pool }) => pool.end()))
    await this.#cluster.close()
  }

  #roles(): Roles {
    const running = new Set(this.#failover.standbys)
    return {
      primary: this.#pools.find(({ node }) => node === this.#cluster.primary)!,
      replicas: this.#pools.filter(({ node }) => running.has(node)),
    }
  }

  async #applyLag(): Promise<void> {
    let applied: number
    do {
      await this.#failover.ended
      applied = this.#lagMs
      try {
        await Promise.all(this.#failover.standbys.map(node => this.#cluster.lag(node, applied)))
      } catch (error) {
        // A replica that is being promoted meanwhile takes no lag. The others are told again afterwards.
        if (!this.#failover.isUnderWay) throw error
        applied = Number.NaN
      }
    } while (applied !== this.#lagMs)
  }
}
