import type { Client, Path } from '../path.js'
import type { PathContext } from './path-context.js'

/** What happens without a fence: writes to the primary and reads from a replica, both by the driver alone. */
export function controlPaths(context: PathContext): Path[] {
  const replicas = context.target.nodes.filter(({ name }) => !context.routers.isPrimary(name))
  return replicas.map(({ name }) => ({ name: `control ${name}`, client: () => controlClient(name, context) }))
}

function controlClient(node: string, { routers, raw, scratch, target }: PathContext): Client {
  /** Its writes since the one that it saw last, and when they were acknowledged. */
  let unseen: { readonly value: string; readonly at: number }[] = []
  return {
    async write(key, value) {
      const primary = target.nodes.find(({ name }) => routers.isPrimary(name))
      if (primary === undefined) throw new Error('no primary is known')
      const [row] = await raw.query<{ prev: string | null }>(primary.name, scratch.write, [key, value])
      unseen.push({ value, at: performance.now() })
      return { prev: row!.prev }
    },
    async read(key) {
      const [row] = await raw.query<{ value: string }>(node, scratch.read, [key])
      const value = row?.value ?? null
      unseen = unseen.slice(unseen.findIndex(write => write.value === value) + 1)
      const stalenessMs = unseen[0] === undefined ? 0 : performance.now() - unseen[0].at
      // As an application takes it that trusts its replica.
      return { value, outcome: { node, rung: 'replica', guarantee: 'read-your-writes', possiblyLost: false, stalenessMs } }
    },
  }
}
