/**
 * Drives PostgreSQL's own quorum: a commit that returns only when as many standbys as `synchronous_standby_names` says have
 * applied it (`synchronous_commit = remote_apply`; the manual's "Synchronous Replication"). What it adds to Tidemark's own
 * waiting is durability: an acknowledged write survives the loss of the primary, if one of those standbys is promoted.
 *
 * The setting goes around the statement in the same pipeline, and is back to the connection's own before anybody else can
 * use the connection. `SET LOCAL` would need a transaction block, in which not every statement may run.
 */
import type { Clock, Timer } from '../../core/clock.js'
import { type Captured, sendWithCapture } from './capture.js'
import type { Lease } from './connections.js'
import { type Answer, destroy, pipelined, type QueryInput, send } from './driver.js'
import type { PostgresNode } from './postgres-node.js'

/** Within a transaction, before its COMMIT. */
export const REMOTE_APPLY_LOCAL = "SET LOCAL synchronous_commit = 'remote_apply'"
const REMOTE_APPLY = "SET synchronous_commit = 'remote_apply'"
const BACK = 'RESET synchronous_commit'

/**
 * Sends a statement whose commit waits for the standbys. After `timeoutMs` the server is asked to give up waiting: the commit
 * then returns, as committed, with a warning of the server's, and whether enough nodes have it is for the router to say.
 */
export function sendDurably(
  lease: Lease,
  target: PostgresNode,
  input: QueryInput,
  values: readonly unknown[] | undefined,
  timeoutMs: number,
  clock: Clock,
): Promise<{ readonly answer: Answer; readonly captured: Captured }> {
  const { connection } = lease
  const wasPipelined = connection.pipeline
  const stopWatching = endLongCommit(lease, target, timeoutMs, clock)
  return new Promise(resolve => {
    const around = () => {
      send(connection, REMOTE_APPLY, undefined, () => {})
      sendWithCapture(connection, input, values, (answer, captured) => {
        // The last to be answered: until then the connection is not to be given back, nor while it may still be told to stop.
        const settle = async (error?: unknown) => {
          await stopWatching()
          if (wasPipelined === false) connection.pipeline = false
          // The next user's commits would wait for standbys, with nobody to end that.
          if (error) destroy(connection)
          resolve({ answer, captured })
        }
        send(connection, BACK, undefined, error => void settle(error))
      })
    }
    if (wasPipelined === undefined) around()
    else pipelined(connection, around)
  })
}

/**
 * Asks the server, again and again after `timeoutMs`, to end this connection's wait for standbys, if that is what it is
 * doing: a statement that is still running is left alone. The function that comes back stops that, and resolves when no such
 * request is under way any more: it would hit the next user's commit.
 */
export function endLongCommit(lease: Lease, target: PostgresNode, timeoutMs: number, clock: Clock): () => Promise<void> {
  let timer: Timer | undefined
  let over = false
  let asking = Promise.resolve()
  const watch = (delayMs: number) => {
    timer = clock.setTimer(() => {
      // Cannot be asked: the statement's own deadline, or the broken connection, ends it.
      asking = target
        .endSyncWait(lease.connection)
        .catch(() => {})
        .then(() => {
          if (!over) watch(RETRY_MS)
        })
    }, delayMs)
  }
  watch(timeoutMs)
  return () => {
    over = true
    timer?.cancel()
    return asking
  }
}

const RETRY_MS = 250

/**
 * For how many standbys a commit waits, by the primary's `synchronous_standby_names`: `ANY k (…)`, `FIRST k (…)`, `k (…)`,
 * or a plain list, which waits for one.
 */
export function standbysWaitedFor(setting: string): number {
  const text = setting.trim()
  if (text === '') return 0
  const counted = /^(?:(?:ANY|FIRST)\s+)?(\d+)\s*\(/i.exec(text)
  return counted === null ? 1 : Number(counted[1])
}
