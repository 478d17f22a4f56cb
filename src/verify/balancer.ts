import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

const HOST = '127.0.0.1'

/** As much of a TCP balancer as there is to: each new connection goes to the next port in turn. */
export class Balancer {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  static async listen(ports: readonly number[]): Promise<Balancer> {
    const balancer = new Balancer(ports)
    await once(balancer.#server.listen({ port: 0, host: HOST }), 'listening')
    return balancer
  }

  private constructor(ports: readonly number[]) {
    let turn = 0
    this.#server = createServer(client => {
      const server = connect({ port: ports[turn++ % ports.length]!, host: HOST })
      const end = () => {
        client.destroy()
        server.destroy()
      }
      for (const socket of [client, server]) {
        this.#sockets.add(socket)
        socket.setNoDelay(true)
        socket.on('error', () => {}) // `close` follows.
        socket.on('close', () => {
          this.#sockets.delete(socket)
          end()
        })
      }
      client.pipe(server).pipe(client)
    })
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise(resolve => this.#server.close(resolve))
  }
}
