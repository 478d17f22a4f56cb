import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Events } from '../../core/events.js'

/** Everything published on a channel while `work` runs. */
export async function collected<K extends keyof Events>(name: K, work: () => Promise<void>): Promise<Events[K][]> {
  const heard: Events[K][] = []
  const listener = (message: unknown) => void heard.push(message as Events[K])
  subscribe(name, listener)
  try {
    await work()
  } finally {
    unsubscribe(name, listener)
  }
  return heard
}
