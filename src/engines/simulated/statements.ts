/** How reads and writes are sent on a lease, with what has to travel with them on the same connection. */
import type { ReadAnswer, ReadForm } from '../../core/execution/read-form.js'
import type { Sent, WritePlan } from '../../core/execution/writes.js'
import type { Position } from '../../core/position.js'
import type { SimulatedLease } from './connection-pool.js'
import { capturedPosition, identityOf, observationOf, upperBoundOf } from './position-answers.js'
import type { Row } from './protocol.js'
import type { SimulatedNode } from './simulated-node.js'

export type { Row }

export type WriteValues = readonly (readonly [key: string, value: string])[]

/** One statement; what runs too long, or has been given up, is cut. */
interface Sending {
  readonly lease: SimulatedLease
  readonly target: SimulatedNode
  readonly signal: AbortSignal | undefined
}

/** Sends a read as `form` says, and gives the lease back. */
export async function sendRead(sending: Sending, keys: readonly string[], form: ReadForm): Promise<ReadAnswer<readonly Row[]>> {
  const { lease, target, signal } = sending
  const stop = target.watch(lease, signal)
  try {
    return await SENDERS[form](lease, keys)
  } catch (error) {
    throw signal?.aborted ? signal.reason : error
  } finally {
    stop()
    lease.release(lease.connection.broken !== undefined)
  }
}

const SENDERS: Record<ReadForm, (lease: SimulatedLease, keys: readonly string[]) => Promise<ReadAnswer<readonly Row[]>>> = {
  async plain(lease, keys) {
    return { result: await rowsOf(lease, keys) }
  },

  async settling(lease, keys) {
    const [result, captured] = await Promise.all([rowsOf(lease, keys), capture(lease)])
    return { result, captured }
  },

  async bounded(lease, keys) {
    const [result, bound] = await Promise.all([rowsOf(lease, keys), boundOf(lease)])
    return { result, bound }
  },

  /** All three on the one connection: whichever server is behind it, it is the same for all. */
  async checked(lease, keys) {
    const check = lease.connection.request({ kind: 'check' }).catch(() => undefined)
    const [result, bound] = await Promise.all([rowsOf(lease, keys), boundOf(lease)])
    const row = await check
    return { result, bound, checked: row && observationOf(row, identityOf(row), 0, 0) }
  },
}

/** Sends a write in a transaction of its own. The lease stays in use until it is released. */
export function sendWrite(
  sending: Sending,
  values: WriteValues,
  asyncCommit: boolean,
  plan: WritePlan,
): Promise<Sent<readonly Row[]>> {
  const { lease } = sending
  return sent(sending, () => {
    const written = lease.connection.request({ kind: 'write', values, asyncCommit })
    const captured = plan.capture ? capture(lease) : undefined
    return { done: written.then(({ rows }) => rows), captured }
  })
}

/** Sends COMMIT of the transaction that is open on the lease. */
export function sendCommit(sending: Sending): Promise<Sent<null>> {
  const { lease } = sending
  return sent(sending, () => {
    const committed = lease.connection.request({ kind: 'commit' })
    return { done: committed, captured: capture(lease) }
  })
}

interface UnderWay<R> {
  readonly done: Promise<R>
  readonly captured: Promise<Position | undefined> | undefined
}

async function sent<R>({ lease, target, signal }: Sending, send: () => UnderWay<R>): Promise<Sent<R>> {
  const stop = target.watch(lease, signal)
  const { done, captured } = send()
  let result: R | undefined
  let error: unknown
  try {
    result = await done
  } catch (problem) {
    error = problem
  }
  const position = await captured
  return {
    result,
    error,
    captured: position,
    release() {
      stop()
      lease.release(lease.connection.broken !== undefined)
      return error !== undefined && signal?.aborted ? signal.reason : error
    },
  }
}

export async function rowsOf({ connection }: SimulatedLease, keys: readonly string[]): Promise<readonly Row[]> {
  return (await connection.request({ kind: 'read', keys })).rows
}

/**
 * Rule 2: asked behind the commit on the same connection, so that the position includes the commit's record. Where the next
 * record will be inserted, not what is flushed: an asynchronous commit is not flushed yet.
 */
async function capture({ connection, writes, identity }: SimulatedLease): Promise<Position | undefined> {
  const end = await connection.request({ kind: 'log-end' }).catch(() => undefined)
  return end && capturedPosition(end, writes, identity)
}

/** An upper bound of what was read before on the connection. */
export async function boundOf({ connection }: SimulatedLease): Promise<Position | undefined> {
  const row = await connection.request({ kind: 'check' }).catch(() => undefined)
  return row && upperBoundOf(row, identityOf(row))
}
