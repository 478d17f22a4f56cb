import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Events } from '../../core/events.js'
import type { SimWorld } from './sim-world.js'

const NAMES = new Map<string, Map<string, string>>()

/** `rung wait`: made once, since every read has one, and a string that has just been put together is slow to look up. There are few. */
function named(kind: string, what: string): string {
  const names = NAMES.get(kind) ?? new Map<string, string>()
  const name = names.get(what) ?? `${kind} ${what}`
  if (!names.has(what)) NAMES.set(kind, names.set(what, name))
  return name
}

/** Counts what the core says of itself while a world runs. Returns how to stop listening. */
export function observeEvents(world: SimWorld): () => void {
  const { tally } = world
  const listeners: { readonly [K in keyof Events]?: (event: Events[K]) => void } = {
    'tidemark:read': ({ rung, guarantee }) => {
      tally.add(named('rung', rung))
      tally.add(named('guarantee', guarantee))
    },
    'tidemark:reroute': ({ reason }) => tally.add(`reroute ${reason}`),
    'tidemark:possibly-lost': ({ verdict }) => tally.add(`verdict ${verdict}`),
    'tidemark:acknowledged': ({ reached }) =>
      tally.add(reached ? 'write acknowledged by a policy' : 'write not acknowledged in time'),
    'tidemark:token-rejected': () => {
      world.refusals++
    },
  }
  const entries = Object.entries(listeners) as [string, (event: unknown) => void][]
  const subscribed = entries.map(([name, listener]) => {
    const receive = (message: unknown) => listener(message)
    subscribe(name, receive)
    return () => unsubscribe(name, receive)
  })
  return () => {
    for (const end of subscribed) end()
  }
}
