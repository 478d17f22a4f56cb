/** What servers say about themselves, in the core's terms. */
import { lineageOf, type Observation } from '../../core/engine.js'
import type { OlderEpoch } from '../../core/execution/engine.js'
import { Position } from '../../core/position.js'
import type { CheckRow, LogEnd, PositionRow, TimelineHistoryRows } from './protocol.js'
import type { Geometry } from './wal.js'

/** What stays the same for the life of one connection to one server. */
export interface ServerIdentity {
  readonly system: string
  readonly incarnation: string
  readonly geometry: Geometry | undefined
}

export function identityOf({ system, started, geometry }: CheckRow): ServerIdentity {
  return { system, incarnation: `${system}/${started}`, geometry }
}

export function observationOf(row: PositionRow, identity: ServerIdentity, sentAt: number, receivedAt: number): Observation {
  const { system, incarnation } = identity
  const { peer } = row
  if (peer !== undefined) {
    return { sentAt, receivedAt, role: 'peer', system, incarnation, epoch: undefined, applied: undefined, peer }
  }
  return {
    sentAt,
    receivedAt,
    role: row.recovering ? 'replica' : 'primary',
    system,
    incarnation,
    epoch: row.timeline ?? undefined,
    applied: row.recovering ? row.applied : endOfLastRecord(row.applied, identity.geometry),
  }
}

/** The lineage that a server writes, when it is a primary or a peer. */
export function writesOf({ role, system, epoch, peer }: Observation): string | undefined {
  if (peer !== undefined) return peer.log
  return role === 'primary' && epoch !== undefined ? lineageOf(system, epoch) : undefined
}

/** Rule 2: the position after everything that was committed on the connection before the question. */
export function capturedPosition(end: LogEnd, writes: string | undefined, { geometry }: ServerIdentity): Position | undefined {
  return writes === undefined ? undefined : Position.at(writes, endOfLastRecord(end.insert, geometry))
}

const LONG_PAGE_HEADER = 40
const SHORT_PAGE_HEADER = 24

/**
 * The end of the last record, from the position where the next would begin. At a page's beginning that is behind the page's
 * header, where no standby's replay position ever is while nothing follows.
 */
export function endOfLastRecord(insert: bigint, geometry: Geometry | undefined): bigint {
  if (geometry === undefined) return insert
  const { blockSize, segmentSize } = geometry
  const inSegment = Number(insert % BigInt(segmentSize))
  if (inSegment === LONG_PAGE_HEADER) return insert - BigInt(LONG_PAGE_HEADER)
  return inSegment % blockSize === SHORT_PAGE_HEADER && inSegment !== SHORT_PAGE_HEADER
    ? insert - BigInt(SHORT_PAGE_HEADER)
    : insert
}

/**
 * An upper bound of what a read has shown, from where its server was behind it. On a standby a commit is visible a moment
 * before the replay position includes it: then the record that begins there may have been seen, and any node that has
 * applied more has applied it. Unless nothing beyond was received: then there is no such record.
 */
export function upperBoundOf(row: PositionRow, identity: ServerIdentity): Position | undefined {
  if (row.peer !== undefined) return row.peer.applied
  const { epoch, applied, role } = observationOf(row, identity, 0, 0)
  if (epoch === undefined || applied === undefined) return undefined
  const mayBeInFlight = role === 'replica' && (row.received === null || row.received > applied)
  return Position.at(lineageOf(identity.system, epoch), mayBeInFlight ? applied + 1n : applied)
}

/** None goes further than any that comes after it. */
export function olderEpochs({ ancestors }: TimelineHistoryRows): readonly OlderEpoch[] {
  let limit: bigint | undefined
  const capped = [...ancestors].reverse().map(({ timeline, switchAt }) => {
    if (limit === undefined || switchAt < limit) limit = switchAt
    return { epoch: timeline, includedUpTo: limit, exact: true }
  })
  return capped.reverse()
}
