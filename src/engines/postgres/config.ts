import type pg from 'pg'
import { checkBounds, DATABASE_DEFAULTS, type DatabaseConfig } from '../../core/database/database-config.js'
import { ConfigurationError } from '../../core/errors.js'
import type { NodeSpec } from '../../core/execution/engine.js'
import type { TokenStore } from '../../core/token-store.js'
import type { PostgresTokenStoreFactory } from './postgres-token-store.js'

/** One server, or one address that hides several. */
export interface NodeOptions {
  /** Connection string. Give exactly one of `url`, `config`, `pool`. */
  readonly url?: string
  /** What `new pg.Pool()` takes; Tidemark makes and owns the pool. */
  readonly config?: pg.PoolConfig
  /** A ready-made pool; Tidemark uses it and never closes it. It must have connections to spare for the application's own use. */
  readonly pool?: pg.Pool
  /** Unique name in outcomes, events and messages. Default: `host:port`. */
  readonly name?: string
  readonly region?: string
  /** Relative share of reads among nodes that are otherwise equal. Default 1. */
  readonly weight?: number
  /**
   * The address hides several servers (a balancer, a reader endpoint, a pooler in transaction mode): every read then
   * carries its own check on its own connection. Default false.
   */
  readonly balanced?: boolean
}

export type NodeAddress = string | pg.Pool | NodeOptions

export interface TidemarkConfig extends DatabaseConfig {
  /** Where the primary is, when you know. Roles are discovered and rediscovered anyway. */
  readonly primary?: NodeAddress
  readonly replicas?: readonly NodeAddress[]
  /** Nodes without saying which is the primary. */
  readonly nodes?: readonly NodeAddress[]
  /**
   * `tables`: a write holds back only reads of the tables that it may have changed, derived from the statement and the
   * catalog; in doubt, all reads. Default: a write holds back all reads, unless it says its `scope`.
   */
  readonly scopes?: 'tables'
  /** Remembers users' positions across devices. Default none: a known user without a token goes to the primary first. */
  readonly store?: TokenStore | PostgresTokenStoreFactory
  /** Defaults of the pools that Tidemark makes: what `new pg.Pool()` takes. */
  readonly pool?: pg.PoolConfig
  /** A connection that cannot be had within this time counts as not to be had. Default 5 000. */
  readonly connectTimeoutMs?: number
}

/** A node as the engine uses it: how to reach it, and what the router needs to know. */
export interface PostgresNodeSpec extends NodeSpec {
  readonly id: string
  readonly region: string | undefined
  readonly weight: number
  readonly balanced: boolean
  readonly declaredPrimary: boolean
  /** What clients for this node are made from. */
  readonly clientConfig: pg.PoolConfig
  /** Present when the pool is the user's. */
  readonly pool: pg.Pool | undefined
}

export const DEFAULTS = Object.freeze({ ...DATABASE_DEFAULTS, connectTimeoutMs: 5_000 })

/** Checks a configuration and lists its nodes, the declared primary first. Throws {@link ConfigurationError}. */
export function nodeSpecs(config: TidemarkConfig): PostgresNodeSpec[] {
  checkBounds(config, ['connectTimeoutMs'])
  if (config.scopes !== undefined && config.scopes !== 'tables') {
    throw new ConfigurationError(`scopes must be 'tables' or left out, not ${JSON.stringify(config.scopes)}`)
  }
  const addresses = [
    ...(config.primary === undefined ? [] : [{ address: config.primary, declaredPrimary: true }]),
    ...[...(config.replicas ?? []), ...(config.nodes ?? [])].map(address => ({ address, declaredPrimary: false })),
  ]
  if (addresses.length === 0) {
    throw new ConfigurationError(
      "no node is configured; give { primary: 'postgres://…', replicas: ['postgres://…'] }, or { nodes: […] } to have the roles discovered",
    )
  }
  const specs: PostgresNodeSpec[] = []
  for (const { address, declaredPrimary } of addresses) {
    const spec = nodeSpec(address, declaredPrimary, config)
    if (specs.some(other => other.id === spec.id)) {
      throw new ConfigurationError(
        `two nodes are called "${spec.id}"; list each server once, or give them different names with { name: '…' }`,
      )
    }
    specs.push(spec)
  }
  return specs
}

/** A node that joins later. Throws {@link ConfigurationError}. */
export function joiningSpec(address: NodeAddress, config: TidemarkConfig): PostgresNodeSpec {
  return nodeSpec(address, false, config)
}

function nodeSpec(address: NodeAddress, declaredPrimary: boolean, config: TidemarkConfig): PostgresNodeSpec {
  const options = toOptions(address)
  const given = [options.url, options.config, options.pool].filter(x => x !== undefined).length
  if (given !== 1) {
    throw new ConfigurationError(
      `a node needs exactly one of url, config and pool, not ${given}: ${JSON.stringify(options.name ?? '(unnamed)')}`,
    )
  }
  const weight = options.weight ?? 1
  if (!(Number.isFinite(weight) && weight > 0))
    throw new ConfigurationError(`weight must be a number greater than 0, not ${weight}`)
  if (declaredPrimary && options.balanced) {
    throw new ConfigurationError('the primary cannot be balanced: several servers behind one address cannot all be the primary')
  }
  const own: pg.PoolConfig = options.url === undefined ? (options.config ?? {}) : { connectionString: checkedUrl(options.url) }
  return {
    id: options.name ?? nameOf(options),
    region: options.region,
    weight,
    balanced: options.balanced ?? false,
    declaredPrimary,
    clientConfig: options.pool?.options ?? {
      connectionTimeoutMillis: config.connectTimeoutMs ?? DEFAULTS.connectTimeoutMs,
      application_name: 'tidemark',
      keepAlive: true,
      ...config.pool,
      ...own,
    },
    pool: options.pool,
  }
}

function toOptions(address: NodeAddress): NodeOptions {
  if (typeof address === 'string') return { url: address }
  // A pool of another copy of the driver is a pool too, so `instanceof` would be too strict.
  if ('totalCount' in address && typeof address.connect === 'function') return { pool: address }
  return address as NodeOptions
}

function checkedUrl(url: string): string {
  const advice = 'expected something like postgres://user:password@host:5432/database'
  // Never quote the URL itself: it may hold a password.
  if (!URL.canParse(url)) throw new ConfigurationError(`a node's URL cannot be parsed; ${advice}`)
  const { protocol, host } = new URL(url)
  if (protocol !== 'postgres:' && protocol !== 'postgresql:') {
    throw new ConfigurationError(`the URL of ${host || 'a node'} begins with ${protocol}//; ${advice}`)
  }
  return url
}

function nameOf(options: NodeOptions): string {
  const settings = options.pool?.options ?? options.config ?? {}
  const url = options.url ?? settings.connectionString
  if (url !== undefined && URL.canParse(url)) {
    const { hostname, port, searchParams } = new URL(url)
    return `${hostname || searchParams.get('host') || 'localhost'}:${port || searchParams.get('port') || 5432}`
  }
  return `${settings.host ?? process.env.PGHOST ?? 'localhost'}:${settings.port ?? process.env.PGPORT ?? 5432}`
}
