import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

// Below the range that systems take the local ends of outgoing connections from. In that range a client that keeps trying a
// stopped server can be given that server's own port as its local one, and then connects to itself.
const LOWEST = 15_000
const HIGHEST = 32_000

/** A TCP port of 127.0.0.1 that was free a moment ago. Whoever binds to it must be ready to find it taken. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(LOWEST, HIGHEST)
    if (await canBind(port)) return port
  }
}

function canBind(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)))
  })
}
