/** Every replica, every rung, every preset: one session a client, as a library's user has it. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Ladder, NotReadyError, notReady, pinned, primary, replica, sessionCache, stale, wait } from '../../core/ladder.js'
import { only } from '../../core/only.js'
import { quorum } from '../../core/quorum.js'
import type { Tidemark } from '../../engines/postgres/index.js'
import type { Client, Path, Seen } from '../path.js'
import { PRESET_NAMES } from '../routers.js'
import type { PathContext } from './path-context.js'
import { sessionClient } from './session-client.js'

const MAX_WAIT_MS = 1_000
const MAX_STALE_MS = 60_000

const UNREADY = [replica(), notReady({ retryAfterMs: 50 })]
const MAX_RETRIES = 20

export function strategyPaths({ routers, scratch, target }: PathContext): Path[] {
  const { shared } = routers
  const path = (name: string, db: Tidemark, ladder: Ladder | undefined, options: Partial<Path> & { cached?: boolean } = {}) => {
    const { cached, ...rest } = options
    return { name, ...rest, client: () => sessionClient(db.session(undefined, { ladder }), scratch, cached) }
  }
  const replicas = target.nodes.filter(({ name }) => !routers.isPrimary(name))
  return [
    ...replicas.map(({ name }) => path(`replica ${name}`, shared, only(name, MAX_WAIT_MS))),
    path('rung replica', shared, [replica(), primary()]),
    path('rung wait', shared, [replica(), wait({ budgetMs: MAX_WAIT_MS }), primary()]),
    path('rung primary', shared, [primary()]),
    path('rung pinned', shared, [pinned({ maxShare: 1 }), replica(), primary()]),
    // Its writes are acknowledged by a majority; without the other rung of the preset.
    path('rung quorum', routers.of('quorum'), [quorum()]),
    path('rung sessionCache', shared, [replica(), sessionCache(), primary()], { cached: true }),
    path('rung stale', shared, [replica(), stale({ maxLagMs: MAX_STALE_MS })], { mayDegrade: true }),
    { name: 'rung notReady', client: () => patient(sessionClient(shared.session(undefined, { ladder: UNREADY }), scratch)) },
    ...PRESET_NAMES.map(name => path(`preset ${name}`, routers.of(name), undefined, { cached: name === 'write-through-cache' })),
  ]
}

/** Does as it is told when a read is not ready: tries again later. */
function patient(client: Client): Client {
  const read = async (key: string, retries: number): Promise<Seen> => {
    try {
      return await client.read(key)
    } catch (error) {
      if (!(error instanceof NotReadyError) || retries === 0) throw error
      await sleep(error.retryAfterMs)
      return read(key, retries - 1)
    }
  }
  return { ...client, read: key => read(key, MAX_RETRIES) }
}
