import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { freePort } from './free-port.js'
import { type LinkConditions, LinkConnection } from './link-connection.js'

const HOST = '127.0.0.1'
const PORT_ATTEMPTS = 20

/**
 * The network between the clients and one server: a port of its own, for life, that leads to the server's.
 *
 * With the server down a connection is accepted and reset at once, since the port is the link's. Neither the link nor its connections
 * keep the process alive.
 */
export class Link {
  readonly port: number
  readonly #server: Server
  readonly #targetPort: () => number
  readonly #connections = new Set<LinkConnection>()
  #delayMs = 0
  #bytesPerSecond = Number.POSITIVE_INFINITY
  #state: 'whole' | 'cut' | 'half-open' = 'whole'

  static async open(targetPort: () => number): Promise<Link> {
    for (let attempt = 1; ; attempt++) {
      // Half-open in TCP's own sense: the end of one direction travels as its last byte does, behind all that is on its way.
      const server = createServer({ allowHalfOpen: true }).unref()
      const port = await freePort()
      try {
        await once(server.listen({ port, host: HOST, exclusive: true }), 'listening')
        return new Link(server, port, targetPort)
      } catch (error) {
        // Somebody may have taken the port since we looked.
        if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || attempt === PORT_ATTEMPTS) throw error
      }
    }
  }

  private constructor(server: Server, port: number, targetPort: () => number) {
    this.port = port
    this.#server = server
    this.#targetPort = targetPort
    server.on('connection', client => this.#accept(client))
  }

  /** Half of it in each direction. */
  delay(ms: number): void {
    this.#delayMs = ms
    this.#changed()
  }

  /** Of answers, per connection. */
  slow(bytesPerSecond: number): void {
    this.#bytesPerSecond = bytesPerSecond
    this.#changed()
  }

  cut(): void {
    this.#state = 'cut'
    for (const connection of this.#connections) connection.destroy()
  }

  halfOpen(): void {
    this.#state = 'half-open'
    this.#changed()
  }

  heal(): void {
    this.#state = 'whole'
    this.#delayMs = 0
    this.#bytesPerSecond = Number.POSITIVE_INFINITY
    for (const connection of this.#connections) if (connection.damaged) connection.destroy()
    this.#changed()
  }

  async close(): Promise<void> {
    this.cut()
    await new Promise(resolve => this.#server.close(resolve))
  }

  #accept(client: Socket): void {
    if (this.#state === 'cut') {
      client.on('error', () => undefined)
      client.resetAndDestroy()
      return
    }
    const reachable = this.#state === 'whole'
    const server = reachable ? connect({ port: this.#targetPort(), host: HOST, allowHalfOpen: true }) : undefined
    const conditions = () => this.#conditions()
    const connection = new LinkConnection(client, server, conditions, () => this.#connections.delete(connection))
    this.#connections.add(connection)
  }

  #conditions(): LinkConditions {
    const common = { delayMs: this.#delayMs / 2, swallow: this.#state === 'half-open' }
    const requests = { ...common, bytesPerSecond: Number.POSITIVE_INFINITY }
    return { requests, answers: { ...common, bytesPerSecond: this.#bytesPerSecond } }
  }

  #changed(): void {
    for (const connection of this.#connections) connection.changed()
  }
}
