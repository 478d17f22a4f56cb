import { Socket } from 'node:net'
import { MissingPeerError } from '../core/errors.js'

/** How long a server may take to say goodbye. A frozen one never does. */
const GOODBYE_MS = 1_000

export interface AdminConnection {
  query<Row extends object>(sql: string, values?: readonly unknown[]): Promise<Row[]>
}

/**
 * Runs `action` on a connection of its own, which is closed afterwards. A connection per use costs a few milliseconds and
 * leaves nothing open that could keep the process alive, or break noisily when its server is killed.
 */
export async function withConnection<Result>(
  url: string,
  timeoutMs: number,
  action: (connection: AdminConnection) => Promise<Result>,
): Promise<Result> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    try {
      return await onceConnected(url, timeoutMs, deadline, action)
    } catch (error) {
      if (!(error instanceof NotConnected)) throw error
      if (!isRecoveryConflict(error.cause) || performance.now() > deadline) throw error.cause
    }
  }
}

/** Nothing has been asked yet. */
class NotConnected extends Error {}

async function onceConnected<Result>(
  url: string,
  timeoutMs: number,
  deadline: number,
  action: (connection: AdminConnection) => Promise<Result>,
): Promise<Result> {
  const { default: pg } = await importPg()
  const socket = new Socket()
  const client = new pg.Client({
    connectionString: url,
    ssl: false,
    stream: () => socket,
    application_name: 'tidemark-testing',
    connectionTimeoutMillis: timeoutMs,
    query_timeout: timeoutMs,
  })
  // A server that is killed in mid-query also reports an error here; without a listener it would end the process.
  client.on('error', () => undefined)
  try {
    await client.connect().catch(cause => {
      throw new NotConnected('not connected', { cause })
    })
    return await action({
      async query<Row extends object>(sql: string, values: readonly unknown[] = []) {
        for (;;) {
          try {
            return (await client.query(sql, [...values])).rows as Row[]
          } catch (error) {
            if (!isRecoveryConflict(error) || performance.now() > deadline) throw error
          }
        }
      },
    })
  } finally {
    const giveUp = setTimeout(() => socket.destroy(), GOODBYE_MS)
    await client.end().catch(() => undefined)
    clearTimeout(giveUp)
  }
}

/**
 * A standby that has something to replay cancels whatever is in its way, also a question of ours, and a connection that is being opened.
 * What was cancelled was rolled back, so asking again repeats nothing.
 */
function isRecoveryConflict(error: unknown): boolean {
  return (
    error instanceof Error && (error as { code?: string }).code === '40001' && error.message.includes('conflict with recovery')
  )
}

async function importPg(): Promise<typeof import('pg')> {
  try {
    return await import('pg')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error
    throw new MissingPeerError('pg', 'The test cluster of tidemark/testing', { cause: error })
  }
}
