import type pg from 'pg'
import { MAX_TIMER_MS } from '../../core/check-number.js'
import type { Clock } from '../../core/clock.js'
import { ConfigurationError } from '../../core/errors.js'
import type { Ladder } from '../../core/ladder.js'
import type { LostWrites } from '../../core/lost-write-error.js'
import type { Guarantee } from '../../core/outcome.js'
import { PRESETS, type PresetName } from '../../core/presets.js'
import type { SessionCacheLimits } from '../../core/session-cache.js'
import { isObject, shown } from '../../core/shown.js'
import type { TokenStore } from '../../core/token-store.js'
import type { WritePolicy } from '../../core/write-policy.js'
import { checkConfig, checkNode } from './check-config.js'
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

export interface TidemarkConfig {
  /** Where the primary is, when you know. Roles are discovered and rediscovered anyway. */
  readonly primary?: NodeAddress
  readonly replicas?: readonly NodeAddress[]
  /** Nodes without saying which is the primary. */
  readonly nodes?: readonly NodeAddress[]
  /**
   * Signs tokens; at least 16 bytes, the same in all processes. A list rotates: the first signs, all are accepted.
   * Default: a random one with a warning; refused when `NODE_ENV=production`.
   */
  readonly secret?: string | readonly string[] | undefined
  /** The region of this process; nodes of the same region are preferred. */
  readonly region?: string | undefined
  /** A whole strategy by one word: `ladder` and `writePolicy`, each of which may still be given. Default `two-level`. */
  readonly preset?: PresetName
  /** How reads are served. Default: a caught-up replica, a short wait, the primary within a bound. */
  readonly ladder?: Ladder
  /** When a write counts as done. Default: when the primary has committed it. */
  readonly writePolicy?: WritePolicy
  /**
   * `tables`: a write holds back only reads of the tables that it may have changed, derived from the statement and the
   * catalog; in doubt, all reads. Default: a write holds back all reads, unless it says its `scope`.
   */
  readonly scopes?: 'tables'
  /**
   * A session's write turns out to be lost, or possibly lost, in a failover. `reissue`: the read is served by the primary, its
   * outcome and an event say so, and the next token goes on from there. `error`: the read rejects with `LostWriteError`,
   * once. Default `reissue`.
   */
  readonly lostWrites?: LostWrites
  /** Bounds of what `sessionCache` rungs serve from. */
  readonly sessionCache?: SessionCacheLimits
  /** What sessions ask for unless they say otherwise. Default `read-your-writes`. */
  readonly guarantee?: Guarantee
  /** Remembers users' positions across devices. Default none: a known user without a token goes to the primary first. */
  readonly store?: TokenStore | PostgresTokenStoreFactory
  /** The store is waited for at most this long. Default 100. */
  readonly storeTimeoutMs?: number
  /** Defaults of the pools that Tidemark makes: what `new pg.Pool()` takes. */
  readonly pool?: pg.PoolConfig
  /** Between polls of a node while nobody waits. Default 500. */
  readonly pollIntervalMs?: number
  /** A node that does not answer a poll for this long is not used until it answers again. Default 1 000. */
  readonly pollTimeoutMs?: number
  /** A connection that cannot be had within this time counts as not to be had. Default 5 000. */
  readonly connectTimeoutMs?: number
  /** At most this many reads wait for replication at once. Default 100 000. */
  readonly maxWaiting?: number
  /** Where warnings for an operator go, besides the `tidemark:warning` event. Default: `process.emitWarning`. */
  readonly onWarning?: (message: string) => void
  readonly clock?: Clock
}

/** A node as the engine uses it: how to reach it, and what the router needs to know. */
export interface NodeSpec {
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

export const DEFAULTS = Object.freeze({
  storeTimeoutMs: 100,
  pollIntervalMs: 500,
  pollTimeoutMs: 1_000,
  connectTimeoutMs: 5_000,
  maxWaiting: 100_000,
})

/** The strategy that a configuration chooses. Throws {@link ConfigurationError}. */
export function strategyOf({ preset = 'two-level', ladder, writePolicy, scopes, lostWrites }: TidemarkConfig) {
  if (typeof preset !== 'string' || !Object.hasOwn(PRESETS, preset)) {
    throw new ConfigurationError(`preset must be one of ${Object.keys(PRESETS).join(', ')}, not ${shown(preset)}`)
  }
  if (scopes !== undefined && scopes !== 'tables') {
    throw new ConfigurationError(`scopes must be 'tables' or left out, not ${shown(scopes)}`)
  }
  if (lostWrites !== undefined && lostWrites !== 'error' && lostWrites !== 'reissue') {
    throw new ConfigurationError(`lostWrites must be 'error' or 'reissue', not ${shown(lostWrites)}`)
  }
  const chosen = PRESETS[preset]
  return { ladder: ladder ?? chosen.ladder, writePolicy: writePolicy ?? chosen.writePolicy }
}

/** Checks a configuration and lists its nodes, the declared primary first. Throws {@link ConfigurationError}. */
export function nodeSpecs(config: TidemarkConfig): NodeSpec[] {
  checkConfig(config)
  for (const name of ['pollIntervalMs', 'pollTimeoutMs', 'connectTimeoutMs', 'storeTimeoutMs', 'maxWaiting'] as const) {
    const value = config[name]
    if (value !== undefined && !(Number.isFinite(value) && value > 0 && value <= MAX_TIMER_MS)) {
      throw new ConfigurationError(`${name} must be a number greater than 0 and at most ${MAX_TIMER_MS}, not ${shown(value)}`)
    }
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
  const specs: NodeSpec[] = []
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
export function joiningSpec(address: NodeAddress, config: TidemarkConfig, taken: readonly string[]): NodeSpec {
  const spec = nodeSpec(address, false, config)
  if (taken.includes(spec.id)) throw new ConfigurationError(`there is a node called "${spec.id}" already`)
  return spec
}

function nodeSpec(address: NodeAddress, declaredPrimary: boolean, config: TidemarkConfig): NodeSpec {
  const options = toOptions(address)
  checkNode(options)
  const given = [options.url, options.config, options.pool].filter(x => x !== undefined).length
  if (given !== 1) {
    throw new ConfigurationError(
      `a node needs exactly one of url, config and pool, not ${given}: ${JSON.stringify(options.name ?? '(unnamed)')}`,
    )
  }
  const weight = options.weight ?? 1
  if (!(Number.isFinite(weight) && weight > 0))
    throw new ConfigurationError(`weight must be a number greater than 0, not ${shown(weight)}`)
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
  if (isObject(address) && 'totalCount' in address && typeof address.connect === 'function') return { pool: address }
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
