import type { Path } from '../path.js'
import type { PathContext } from './path-context.js'
import { sessionClient } from './session-client.js'

/** An address that hides the replicas; `undefined` when there is none. */
export async function balancedPath({ target, routers, scratch }: PathContext): Promise<Path | undefined> {
  const { balancedUrl, nodes } = target
  if (balancedUrl === undefined) return undefined
  const primary = nodes.filter(({ name }) => routers.isPrimary(name))
  const db = await routers.add({
    nodes: [...primary, { name: 'balanced', url: balancedUrl, balanced: true }],
    // New connections now and then, so that the balancer has something to do.
    pool: { maxLifetimeSeconds: 5 },
  })
  return { name: 'balanced address', client: () => sessionClient(db.session(), scratch) }
}
