import type { Clock } from '../clock.js'
import { lineageOf } from '../engine.js'
import { Position } from '../position.js'
import type { EngineNode, Lease } from './engine.js'

/** A server that does not answer within this time tells nothing. */
export const LOCATE_TIMEOUT_MS = 1_000

/**
 * Where the history (or, of a peer, its own log) is now that the server writes which the lease leads to: everything that was
 * acknowledged in it before is included. `undefined` when the server does not say, or writes it no more. Gives the lease back.
 */
export async function positionOfWriter<L extends Lease>(
  lease: L,
  target: EngineNode<L>,
  clock: Clock,
): Promise<Position | undefined> {
  const cut = clock.setTimer(() => target.cut(lease), LOCATE_TIMEOUT_MS, { keepAlive: true })
  let position: Position | undefined
  try {
    const { system, epoch, applied, peer } = await target.locate(lease)
    const lineage = epoch === undefined ? peer?.log : lineageOf(system, epoch)
    if (lineage === undefined || lineage !== lease.writes) return undefined
    const offset = peer === undefined ? applied : peer.applied.offsetIn(lineage)
    if (offset !== undefined) position = Position.at(lineage, offset)
    return position
  } finally {
    cut.cancel()
    lease.release(position === undefined)
  }
}
