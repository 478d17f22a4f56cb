import { randomBytes } from 'node:crypto'
import { PRESETS, type PresetName } from '../core/presets.js'
import { type Tidemark, type TidemarkConfig, tidemark } from '../engines/postgres/index.js'
import { QUERY_TIMEOUT_MS } from './raw-nodes.js'
import type { Target } from './target.js'

/** Of each router at each node, besides its monitor's. */
const MAX_CONNECTIONS = 3
/** The one that most paths share. */
const MAX_SHARED_CONNECTIONS = 10

export const PRESET_NAMES = Object.keys(PRESETS) as readonly PresetName[]

/** The routers that the paths go through: one a preset, since a preset is also when a write counts as done, and a few besides. */
export class Routers {
  readonly #target: Target
  readonly #applicationName: string
  readonly #secret = randomBytes(32).toString('base64url')
  readonly #opened: Tidemark[] = []
  readonly #presets = new Map<PresetName, Tidemark>()

  /** Nothing is left open when this rejects. */
  static async open(target: Target, applicationName: string): Promise<Routers> {
    const routers = new Routers(target, applicationName)
    try {
      for (const preset of PRESET_NAMES) {
        const max = preset === 'two-level' ? MAX_SHARED_CONNECTIONS : MAX_CONNECTIONS
        routers.#presets.set(preset, await routers.add({ preset, pool: { max } }))
      }
      return routers
    } catch (error) {
      await routers.close()
      throw error
    }
  }

  private constructor(target: Target, applicationName: string) {
    this.#target = target
    this.#applicationName = applicationName
  }

  of(preset: PresetName): Tidemark {
    return this.#presets.get(preset)!
  }

  /** The default preset's, which most paths share. */
  get shared(): Tidemark {
    return this.of('two-level')
  }

  /** One more, on the same nodes unless it says others. */
  async add(config: Partial<TidemarkConfig>): Promise<Tidemark> {
    const db = await tidemark({
      nodes: this.#target.nodes,
      secret: this.#secret,
      // Lag, pauses and a failover are what this is about; the report tells what came of them.
      onWarning: () => {},
      // A machine that carries a whole cluster and its clients stalls now and then.
      pollTimeoutMs: 5_000,
      ...config,
      pool: {
        max: MAX_CONNECTIONS,
        application_name: this.#applicationName,
        query_timeout: QUERY_TIMEOUT_MS,
        ...config.pool,
      },
    })
    this.#opened.push(db)
    return db
  }

  isPrimary(node: string): boolean {
    return this.shared.status().some(each => each.node === node && each.role === 'primary')
  }

  async close(): Promise<void> {
    await Promise.all(this.#opened.map(db => db.close()))
  }
}
