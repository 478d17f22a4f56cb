/**
 * What a history is made of: what clients asked, what they were answered, and when. One JSON object a line.
 *
 * **Values are unique**: of one key no value is written twice. A write tells which value it replaced (`prev`), so the
 * versions of a key form a tree whose root is "never written". In a store with one primary and no failover it is a chain;
 * a failover that cuts off a tail makes a branch. A read *includes* a write when the write's value is the one that was
 * read or an ancestor of it. Nothing in this needs a log position, a clock of a server or anything that a router believes.
 */

/** What a session may ask for; `eventual` is nothing. */
export type AskedGuarantee = 'eventual' | 'read-your-writes' | 'monotonic-reads'

/** Key and value; `null`: never written. */
export type ReadValue = readonly [key: string, value: string | null]

/** Key, value, and the value that it replaced: `null` when there was none, absent when the store did not say. */
export type WrittenValue = readonly [key: string, value: string, prev?: string | null]

/** One request of a client: a read, a write, or a transaction of several, which take effect together. */
export interface OperationRecord {
  readonly type: 'op'
  /** Unique in the history. */
  readonly id: number
  /** Whose causal history it belongs to: one user on all devices, or one device when nothing joins them. */
  readonly session: string
  /** Milliseconds on one clock for the whole history. */
  readonly start: number
  /** Absent when no answer came. */
  readonly end?: number
  /** `unknown`: it may or may not have taken effect. `failed`: it certainly has not. */
  readonly status: 'ok' | 'failed' | 'unknown'
  /** What all of it read, in one snapshot. */
  readonly reads?: readonly ReadValue[]
  readonly writes?: readonly WrittenValue[]
  /** Default `read-your-writes`. */
  readonly asked?: AskedGuarantee
  /** What the answer says of itself. Default: what was asked. */
  readonly achieved?: AskedGuarantee
  /** The caller allowed less than was asked (a rung of its own). Default false. */
  readonly mayDegrade?: boolean
  /** The answer says that writes of this session may be lost. */
  readonly reportsLoss?: boolean
  /** The answer came from the author's own cache, so it may show nothing but what this session wrote or read. */
  readonly fromOwnCache?: boolean
  /** The answer had to come within this many milliseconds, whatever it was. */
  readonly deadlineMs?: number
  /** By which way it was sent; for the summary. */
  readonly path?: string
  /** The error, in words or as a code; for the counterexample. */
  readonly error?: string
}

/** What is known of a version from elsewhere: an audit table, the truth of a simulation. */
export interface VersionRecord {
  readonly type: 'version'
  readonly key: string
  readonly value: string
  readonly prev: string | null
}

/** What a key holds in the end, when all has settled: acknowledged writes that it does not include are lost. */
export interface FinalRecord {
  readonly type: 'final'
  readonly key: string
  readonly value: string | null
}

/** Something that has a bound, and how far it went. */
export interface GaugeRecord {
  readonly type: 'gauge'
  readonly name: string
  readonly value: number
  readonly bound: number
}

export type HistoryRecord = OperationRecord | VersionRecord | FinalRecord | GaugeRecord
