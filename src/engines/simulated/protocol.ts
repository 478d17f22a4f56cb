/** What clients ask simulated servers, and what they are answered: each in the place of one SQL statement. */
import type { PeerState } from '../../core/engine.js'
import type { Geometry } from './wal.js'

export type Statement =
  /** Values of several keys, in one snapshot. */
  | { readonly kind: 'read'; readonly keys: readonly string[] }
  /** In a transaction of its own when none is open. Later values of a key in the list replace earlier ones. */
  | {
      readonly kind: 'write'
      readonly values: readonly (readonly [key: string, value: string])[]
      readonly asyncCommit?: boolean
    }
  | { readonly kind: 'begin'; readonly readOnly?: boolean; readonly asyncCommit?: boolean }
  | { readonly kind: 'commit' }
  | { readonly kind: 'rollback' }
  /** Where the server is: {@link PositionRow}. */
  | { readonly kind: 'position' }
  /** Who the server is, and where: {@link CheckRow}. The first question on a new connection. */
  | { readonly kind: 'check' }
  /** The ends of the server's own log, as `pg_current_wal_insert_lsn()` and `pg_current_wal_flush_lsn()`; of a peer, up to where its readers see it. */
  | { readonly kind: 'log-end' }
  /** `pg_sleep()`. */
  | { readonly kind: 'sleep'; readonly ms: number }
  /** `TIMELINE_HISTORY`, of the timeline that the server is on. */
  | { readonly kind: 'timeline-history' }

/** A key as it was read, or as it is after a write. Of a leaderless cluster: one of the key's registers, see `Peer`. */
export type Row = {
  readonly key: string
  /** `null`: never written. */
  readonly value: string | null
  /** The value that this one replaced; `null`: there was none. */
  readonly prev: string | null
}

/** Rows as read or as written, in the order of the keys. */
export interface Rows {
  readonly rows: readonly Row[]
}

export interface PositionRow {
  readonly recovering: boolean
  /** How far a standby's receiver has written, `null` on a primary. */
  readonly received: bigint | null
  /** A standby's replay position; a primary's insert position, as it stands: see `Wal.insertPosition`. */
  readonly applied: bigint
  /** A primary's; a standby's as its receiver tells it, `null` while none runs. */
  readonly timeline: number | null
  /** Of a leaderless cluster, instead of the rest. */
  readonly peer?: PeerState
}

export interface CheckRow extends PositionRow {
  readonly system: string
  /** Another value means another life of the server. */
  readonly started: string
  /** `undefined`: positions are stamps, not places on pages. */
  readonly geometry: Geometry | undefined
}

export interface LogEnd {
  readonly insert: bigint
  readonly flush: bigint
}

export interface TimelineHistoryRows {
  readonly timeline: number
  /** Oldest first: everything up to and including `switchAt` is part of the present timeline. */
  readonly ancestors: readonly { readonly timeline: number; readonly switchAt: bigint }[]
}

/** Maps each kind of statement to what it is answered. */
export interface Answers {
  read: Rows
  write: Rows
  begin: null
  commit: null
  rollback: null
  sleep: null
  position: PositionRow
  check: CheckRow
  'log-end': LogEnd
  'timeline-history': TimelineHistoryRows
}

export type Answer = Answers[keyof Answers]

export type ServerErrorCode =
  /** 25006: a write on a standby or in a read-only transaction. */
  | 'read-only'
  /** 25P02: the transaction has failed already. */
  | 'transaction-failed'
  /** 40P01, 55P03: a row lock was not to be had. Nothing was written. */
  | 'lock-timeout'
  /** 25001, 25P01: begin within a transaction, commit without one. */
  | 'no-such-transaction'
  /** A leaderless peer has no stamp for the commit. */
  | 'no-stamp'
  /** There is no such record here. */
  | 'not-supported'

/** The server's own answer: certainly nothing has been done. */
export class ServerError extends Error {
  readonly code: ServerErrorCode
  constructor(code: ServerErrorCode, message: string) {
    super(message)
    this.name = 'ServerError'
    this.code = code
  }
}

/** No connection was to be had in time; nothing was sent. */
export class PoolTimeoutError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'PoolTimeoutError'
  }
}

/** No answer: the statement may have been carried out or not. */
export class ConnectionLostError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'ConnectionLostError'
  }
}
