/** For tests of simulated servers: a world, and clients that ask its servers directly. */
import type { Connection } from '../../src/engines/simulated/connection.js'
import type { Row } from '../../src/engines/simulated/protocol.js'
import type { ServerCluster } from '../../src/engines/simulated/server-cluster.js'
import type { ServerProcess } from '../../src/engines/simulated/server-process.js'
import { Simulation } from '../../src/engines/simulated/simulation.js'

const LONG_MS = 60_000

export function simulatedWorld<C extends ServerCluster<ServerProcess>>(create: (simulation: Simulation) => C, seed = 1) {
  const simulation = new Simulation(seed)
  const cluster = create(simulation)

  /** Lets time pass for as long as `work` takes, and not longer. */
  async function during<T>(work: () => Promise<T>): Promise<T> {
    let outcome: { readonly value: T } | { readonly error: unknown } | undefined
    work().then(
      value => {
        outcome = { value }
      },
      error => {
        outcome = { error }
      },
    )
    await simulation.run({ isDone: () => outcome !== undefined, until: simulation.now() + LONG_MS })
    if (outcome === undefined) throw new Error(`not within ${LONG_MS} virtual ms`)
    if ('error' in outcome) throw outcome.error
    return outcome.value
  }

  async function opened(address: string, from = 'client'): Promise<Connection> {
    const connection = cluster.connect(from, address)
    await connection.opened
    return connection
  }

  return {
    simulation,
    cluster,
    during,
    pass: (ms: number) => simulation.run({ until: simulation.now() + ms }),
    open: (address: string, from?: string) => during(() => opened(address, from)),
    read: (connection: Connection, key = 'k') => during(() => readFrom(connection, key)),
    /** What a client sees that connects anew. */
    show: (address: string, key = 'k') => during(async () => readFrom(await opened(address, 'somebody'), key)),
    write: (connection: Connection, value: string, options: { readonly key?: string; readonly asyncCommit?: boolean } = {}) =>
      during(() => writeTo(connection, value, options)),
  }
}

/** The values that are there, in the order of the registers. */
async function readFrom(connection: Connection, key: string): Promise<string | undefined> {
  const { rows } = await connection.request({ kind: 'read', keys: [key] })
  const values = rows.flatMap(({ value }) => (value === null ? [] : [value]))
  return values.length === 0 ? undefined : values.join()
}

export async function writeTo(
  connection: Connection,
  value: string,
  { key = 'k', asyncCommit = false }: { readonly key?: string; readonly asyncCommit?: boolean } = {},
): Promise<Row> {
  const { rows } = await connection.request({ kind: 'write', values: [[key, value]], asyncCommit })
  return rows[0]!
}
