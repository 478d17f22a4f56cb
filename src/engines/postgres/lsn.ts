/**
 * PostgreSQL log sequence numbers: 64-bit byte positions in the write-ahead log, written `16/B374D848`
 * (PostgreSQL manual, "pg_lsn Type"). Kept as bigint: a double loses bits beyond 2^53.
 */

const LSN = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/
/** XLogShortPHD / XLogLongPHD: what precedes the first record on a page, and on the first page of a segment. */
const SHORT_PAGE_HEADER = 24n
const LONG_PAGE_HEADER = 40n

/** Throws `SyntaxError` for anything that is not an LSN: unparsable must never look like a position. */
export function parseLsn(text: string): bigint {
  const match = LSN.exec(text)
  if (match === null) throw new SyntaxError(`not a PostgreSQL LSN: ${JSON.stringify(text)}`)
  return (BigInt(Number.parseInt(match[1]!, 16)) << 32n) | BigInt(Number.parseInt(match[2]!, 16))
}

export function formatLsn(lsn: bigint): string {
  return `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffff_ffffn).toString(16).toUpperCase()}`
}

export interface WalGeometry {
  /** Bytes in a WAL segment file (`wal_segment_size`). */
  readonly segmentSize: bigint
  /** Bytes in a WAL page (`wal_block_size`). */
  readonly blockSize: bigint
}

/**
 * The end of the last record, from `pg_current_wal_insert_lsn()`.
 *
 * That function tells where the *next* record would begin, and so at a page boundary it points behind the page's header:
 * 24 bytes past the last record, 40 at the start of a segment. A standby's replay position is the end of the last
 * record, so on a system that then falls idle a fence at the reported position would never open. Rounding is exact, not
 * a guess: no record ends 24 bytes into a page (a continued one has at least 8 bytes there), nor 40 into a segment.
 */
export function endOfLastRecord(insertLsn: bigint, { segmentSize, blockSize }: WalGeometry): bigint {
  if (insertLsn % segmentSize === LONG_PAGE_HEADER) return insertLsn - LONG_PAGE_HEADER
  if (insertLsn % blockSize === SHORT_PAGE_HEADER && insertLsn % segmentSize !== SHORT_PAGE_HEADER)
    return insertLsn - SHORT_PAGE_HEADER
  return insertLsn
}
