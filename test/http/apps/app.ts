/** What the same application, written once for each framework, shares. */
import type { Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { ExchangeOptions } from '../../../src/http/exchange.js'
import type { TestDatabase } from '../kit.js'

export interface RunningApp {
  readonly origin: string
  close(): Promise<void>
}

export type StartApp = (db: TestDatabase, options?: ExchangeOptions) => Promise<RunningApp>

/** The user is whoever the client says: what authentication would have found out. Express and Hono tell it asynchronously. */
export const USER = 'x-user'
export const pause = () => new Promise(resolve => setImmediate(resolve))

export async function gated(db: TestDatabase, id: string): Promise<void> {
  const { written, release } = db.gateOf(id)
  await db.write()
  written.open()
  await release.opened
}

export function running(server: Server, close: () => Promise<unknown> | undefined): RunningApp {
  const { port } = server.address() as AddressInfo
  return {
    origin: `http://127.0.0.1:${port}`,
    async close() {
      server.closeAllConnections()
      await close()
    },
  }
}

export function listening(server: Server): Promise<Server> {
  return new Promise(resolve => server.listen(0, '127.0.0.1', () => resolve(server)))
}

export function closing(server: Server): Promise<void> {
  return new Promise(resolve => server.close(() => resolve()))
}

/** Until the headers are on their way. */
export async function untilSent(res: ServerResponse): Promise<void> {
  while (!res.headersSent) await pause()
}
