import net from 'node:net'

/** What stands between an application and a server in a test: forwards bytes, until told not to. */
export interface TcpProxy {
  readonly port: number
  /** Which target the next connection goes to. */
  target: number
  /** Connections made so far. */
  readonly connections: number
  /** Called with every chunk from the client before it is forwarded. */
  onRequest: ((chunk: Buffer) => void) | undefined
  /** Swallows what servers say from now on, on all connections. */
  deaf: boolean
  /** Cuts all connections. */
  cut(): void
  close(): Promise<void>
}

/** A proxy on 127.0.0.1 to a port of the same host. `pick` chooses the target of each new connection. */
export async function tcpProxy(target: number, pick?: (connection: number) => number): Promise<TcpProxy> {
  const sockets = new Set<net.Socket>()
  const server = net.createServer(client => {
    const upstream = net.connect(pick?.(proxy.count++) ?? proxy.target, '127.0.0.1')
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        client.destroy()
        upstream.destroy()
      })
    }
    client.on('data', chunk => {
      proxy.onRequest?.(chunk)
      upstream.write(chunk)
    })
    upstream.on('data', chunk => {
      if (!proxy.deaf) client.write(chunk)
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const proxy = {
    target,
    count: 0,
    deaf: false,
    onRequest: undefined as TcpProxy['onRequest'],
    port: (server.address() as net.AddressInfo).port,
    get connections() {
      return this.count
    },
    cut() {
      for (const socket of sockets) socket.destroy()
    },
    async close() {
      proxy.cut()
      await new Promise(resolve => server.close(resolve))
    },
  }
  return proxy
}
