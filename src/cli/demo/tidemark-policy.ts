/** The third policy: reads through Tidemark, under a preset that can be changed while requests are under way. */
import type { RequestListener } from 'node:http'
import type { PresetName } from '../../core/presets.js'
import type { Tidemark } from '../../engines/postgres/index.js'
import { readYourWrites, sessionOf } from '../../http/node.js'
import type { Policy, StoreHandler } from './policies.js'
import { visitorOf } from './visitor.js'

export type OpenPreset = (preset: PresetName) => Promise<Tidemark>

export class TidemarkPolicy implements Policy {
  readonly name = 'tidemark'
  readonly #open: OpenPreset
  #current: OpenedPreset
  /** Changes follow each other, so that no more than two presets are open at a time. */
  #changing: Promise<unknown> = Promise.resolve()

  static async start(preset: PresetName, open: OpenPreset): Promise<TidemarkPolicy> {
    return new TidemarkPolicy(open, new OpenedPreset(preset, await open(preset)))
  }

  private constructor(open: OpenPreset, current: OpenedPreset) {
    this.#open = open
    this.#current = current
  }

  get preset(): PresetName {
    return this.#current.preset
  }

  /** From the next request on. The preset before it is closed when its last request has ended. When this rejects, it stays. */
  use(preset: PresetName): Promise<void> {
    const changed = this.#changing.then(async () => {
      if (preset === this.preset) return
      const next = new OpenedPreset(preset, await this.#open(preset))
      const before = this.#current
      this.#current = next
      await before.close()
    })
    this.#changing = changed.catch(() => {})
    return changed
  }

  listener(handler: StoreHandler): RequestListener {
    return (req, res) => this.#current.listener(handler)(req, res)
  }

  async close(): Promise<void> {
    await this.#changing
    await this.#current.close()
  }
}

class OpenedPreset {
  readonly preset: PresetName
  readonly #db: Tidemark
  readonly #middleware: ReturnType<typeof readYourWrites>
  #requests = 0
  #onIdle: (() => void) | undefined

  constructor(preset: PresetName, db: Tidemark) {
    this.preset = preset
    this.#db = db
    // Tokens are the author's own, and so is what the session cache keeps for them.
    this.#middleware = readYourWrites(db, { user: req => visitorOf(req).author })
  }

  /** The middleware, and Tidemark in place of a pool: that is all. */
  listener(handler: StoreHandler): RequestListener {
    const db = this.#db
    const handle = this.#middleware((req, res) => {
      const session = sessionOf(db, req)
      return handler(req, res, {
        write: async (sql, values) => (await session.query(sql, [...values])).rows as never[],
        read: async (sql, values, cache) => {
          const { rows } = await session.query(sql, [...values], { cache })
          const { node, possiblyLost } = session.lastOutcome!
          return { rows: rows as never[], node, possiblyLost }
        },
      })
    })
    return async (req, res) => {
      this.#requests++
      try {
        await handle(req, res)
      } finally {
        this.#requests--
        if (this.#requests === 0) this.#onIdle?.()
      }
    }
  }

  async close(): Promise<void> {
    // Each request's statements have their own deadlines, so this ends.
    if (this.#requests > 0) await new Promise<void>(resolve => (this.#onIdle = resolve))
    await this.#db.close()
  }
}
