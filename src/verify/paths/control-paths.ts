import type { Path } from '../path.js'
import type { PathContext } from './path-context.js'

/** What happens without a fence: writes to the primary and reads from a replica, both by the driver alone. */
export function controlPaths({ routers, raw, scratch, target }: PathContext): Path[] {
  const isPrimary = (name: string) => routers.isPrimary(name)
  const replicas = target.nodes.filter(({ name }) => !isPrimary(name))
  return replicas.map(({ name: node }) => ({
    name: `control ${node}`,
    client: () => ({
      async write(key, value) {
        const primary = target.nodes.find(({ name }) => isPrimary(name))
        if (primary === undefined) throw new Error('no primary is known')
        const [row] = await raw.query<{ prev: string | null }>(primary.name, scratch.write, [key, value])
        return { prev: row!.prev }
      },
      async read(key) {
        const [row] = await raw.query<{ value: string }>(node, scratch.read, [key])
        // As an application would take it that believes in its replica.
        const outcome = {
          node,
          rung: 'replica',
          guarantee: 'read-your-writes',
          possiblyLost: false,
          stalenessMs: undefined,
        } as const
        return { value: row?.value ?? null, outcome }
      },
    }),
  }))
}
