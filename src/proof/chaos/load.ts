/** Who uses the application: users with two devices each, and clients that nobody knows, some of whom must never see time go back. */
import type { Random } from '../random.js'
import { Device, type DeviceOptions } from './device.js'
import type { Trace } from './trace.js'

const USERS = 4
const STRANGERS = 8
/** Some values belong to everybody: there the writes of others come between. */
const SHARED = ['shared 1', 'shared 2', 'shared 3']

const OWN = (name: string) => [`${name} a`, `${name} b`]
const users = Array.from({ length: USERS }, (_, i) => `user ${i + 1}`)
const strangers = Array.from({ length: STRANGERS }, (_, i) => `stranger ${i + 1}`)

/** All keys that anybody uses. */
export const KEYS = [...SHARED, ...[...users, ...strangers].flatMap(OWN)]

export class Load {
  readonly #devices: readonly Device[]
  readonly #end = new AbortController()
  #running: Promise<unknown> = Promise.resolve()

  constructor(origins: readonly string[], fetch: typeof globalThis.fetch, random: Random, trace: Trace) {
    const device = (options: Pick<DeviceOptions, 'name' | 'user' | 'guarantee' | 'carrier'>) =>
      new Device({
        ...options,
        keys: [...OWN(options.user ?? options.name), ...SHARED],
        origins,
        fetch,
        random: random.fork(),
        trace,
      })
    this.#devices = [
      // What a user's other device has *read* no token store keeps: monotonic reads are a device's own.
      ...users.flatMap(user => [
        device({ name: `${user}, phone`, user, guarantee: 'read-your-writes', carrier: 'header' }),
        device({ name: `${user}, laptop`, user, guarantee: 'read-your-writes', carrier: 'cookie' }),
      ]),
      ...strangers.map((name, i) =>
        device({
          name,
          guarantee: i % 2 === 0 ? 'read-your-writes' : 'monotonic-reads',
          carrier: i % 4 < 2 ? 'cookie' : 'header',
        }),
      ),
    ]
  }

  start(): void {
    this.#running = Promise.all(this.#devices.map(device => device.use(this.#end.signal)))
    // Whoever stops it is told.
    this.#running.catch(() => {})
  }

  /** Resolves when every device has its last answer. */
  async stop(): Promise<void> {
    this.#end.abort()
    await this.#running
  }

  async lookOnceMore(): Promise<void> {
    await Promise.all(this.#devices.map(device => device.lookOnceMore()))
  }
}
