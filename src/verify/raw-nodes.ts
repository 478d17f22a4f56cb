import type pg from 'pg'
import type { Driver } from '../engines/postgres/driver.js'
import type { VerifiedNode } from './target.js'

/** Of each node. They are shared by everything that goes past Tidemark. */
const MAX_CONNECTIONS = 10
/** Whatever does not answer for this long counts as an error. Also of the routers' connections. */
export const QUERY_TIMEOUT_MS = 10_000

/** The nodes as the driver alone sees them: what Tidemark is measured against, and what shows how far replicas lag. */
export class RawNodes {
  readonly names: readonly string[]
  readonly #pools: ReadonlyMap<string, pg.Pool>

  constructor(nodes: readonly VerifiedNode[], driver: Driver, applicationName: string) {
    this.names = nodes.map(({ name }) => name)
    this.#pools = new Map(
      nodes.map(({ name, url }) => {
        const pool = new driver.Pool({
          connectionString: url,
          max: MAX_CONNECTIONS,
          application_name: applicationName,
          connectionTimeoutMillis: QUERY_TIMEOUT_MS,
          query_timeout: QUERY_TIMEOUT_MS,
        })
        pool.on('error', () => {}) // An idle connection that breaks is replaced.
        return [name, pool]
      }),
    )
  }

  async query<Row extends pg.QueryResultRow>(
    node: string,
    sql: string,
    values: readonly unknown[] = [],
  ): Promise<readonly Row[]> {
    return (await this.#pools.get(node)!.query<Row>(sql, [...values])).rows
  }

  /** Milliseconds that the driver takes for it. `undefined` when the node is none of these, or does not answer. */
  async time(node: string, sql: string, values: readonly unknown[]): Promise<number | undefined> {
    const pool = this.#pools.get(node)
    if (pool === undefined) return undefined
    const startedAt = performance.now()
    try {
      await pool.query(sql, [...values])
      return performance.now() - startedAt
    } catch {
      return undefined
    }
  }

  /** The node that is out of recovery. Throws when there is none. */
  async primary(): Promise<string> {
    const asked = this.names.map(async node => {
      const [row] = await this.query<{ standby: boolean }>(node, 'select pg_is_in_recovery() as standby')
      if (row!.standby) throw new Error(`${node} is a standby`)
      return node
    })
    return Promise.any(asked).catch((error: AggregateError) => {
      const said = error.errors.map(each => (each instanceof Error ? each.message : String(each)))
      throw new Error(`there is no primary: ${said.join('; ')}`, { cause: error })
    })
  }

  async close(): Promise<void> {
    await Promise.all([...this.#pools.values()].map(pool => pool.end()))
  }
}
