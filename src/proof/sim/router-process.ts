/** One process of an application: the real database, exchange and cache, which a restart begins anew. */
import type { CacheStore } from '../../core/cache-store.js'
import { type FencedCache, fencedCache } from '../../core/fenced-cache.js'
import type { Ladder } from '../../core/ladder.js'
import { PRESETS } from '../../core/presets.js'
import type { TokenStore } from '../../core/token-store.js'
import type { ProcessClock } from '../../engines/simulated/process-clock.js'
import type { SimulatedCluster } from '../../engines/simulated/simulated-cluster.js'
import { type SimulatedDatabase, simulatedDatabase } from '../../engines/simulated/simulated-database.js'
import { type Exchange, tokenExchange } from '../../http/exchange.js'
import type { AppSession } from './app-session.js'
import type { RouterPlan } from './schedule.js'
import { ladderOf, policyOf } from './strategies.js'

export interface Shared {
  readonly cluster: SimulatedCluster
  readonly secret: string
  readonly store: TokenStore | undefined
  readonly cacheStore: CacheStore
}

/** What a process has while it is up. */
export interface Running {
  readonly db: SimulatedDatabase
  readonly exchange: ReturnType<typeof tokenExchange<AppSession>>
  readonly cache: FencedCache
  readonly ladder: Ladder
}

export class RouterProcess {
  readonly id: string
  readonly plan: RouterPlan
  readonly clock: ProcessClock
  readonly #shared: Shared
  running: Running | undefined

  constructor(id: string, plan: RouterPlan, clock: ProcessClock, shared: Shared) {
    this.id = id
    this.plan = plan
    this.clock = clock
    this.#shared = shared
  }
}
