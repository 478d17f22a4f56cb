import { ConfigurationError } from '../core/errors.js'
import { Link } from './link.js'
import type { PostgresServer } from './postgres-server.js'

/** The links of a cluster: none, unless it was started with them. */
export class Links {
  readonly #enabled: boolean
  readonly #links = new Map<string, Link>()

  constructor(enabled: boolean) {
    this.#enabled = enabled
  }

  /** Opens the link to a server, which has its port by now. */
  async open(server: PostgresServer): Promise<void> {
    if (this.#enabled) this.#links.set(server.name, await Link.open(() => server.port))
  }

  /** The port through which clients reach the server. */
  portOf(server: PostgresServer): number {
    return this.#links.get(server.name)?.port ?? server.port
  }

  /** The link that `method` works on. */
  get(server: PostgresServer, method: string): Link {
    const link = this.#links.get(server.name)
    if (link) return link
    throw new ConfigurationError(
      `${method}: this test cluster has no network links. Start it with startCluster({ links: true }).`,
    )
  }

  async close(): Promise<void> {
    await Promise.all([...this.#links.values()].map(link => link.close()))
  }
}
