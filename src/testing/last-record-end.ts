const PAGE_BYTES = 8_192n
const PAGE_HEADER_BYTES = 24n
const SEGMENT_BYTES = 16n * 1024n * 1024n
const SEGMENT_HEADER_BYTES = 40n

/** An LSN as PostgreSQL prints it (`16/B374D848`), as a number. */
export function parseLsn(text: string): bigint {
  const [high, low] = text.split('/')
  return (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`)
}

/**
 * Where the last record ends, from `pg_current_wal_insert_lsn()`. When that record fills its page, the insert position is already
 * past the header of the next page; a replica that has replayed everything stays before it until something else is written.
 */
export function lastRecordEnd(insertLsn: string): bigint {
  const position = parseLsn(insertLsn)
  if (position % SEGMENT_BYTES === SEGMENT_HEADER_BYTES) return position - SEGMENT_HEADER_BYTES
  if (position % PAGE_BYTES === PAGE_HEADER_BYTES) return position - PAGE_HEADER_BYTES
  return position
}
