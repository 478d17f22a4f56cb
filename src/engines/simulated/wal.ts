/**
 * A write-ahead log as PostgreSQL lays it out: records at byte positions, on pages with headers, in timelines that branch off
 * one another. Every server has its own copy; copies share the records that they have in common.
 *
 * Positions in here count from the beginning of the log as plain numbers; {@link Geometry.origin} makes 64-bit ones of them.
 */
import type { Random } from './random.js'

/** One value that a key has had. Values of a key are unique, so `prev` makes a tree of them. */
export interface Version {
  readonly key: string
  readonly value: string
  /** The value it replaced; `null`: there was none. */
  readonly prev: string | null
}

export interface WalRecord {
  /** End of the record: what a standby reports that has applied it. */
  readonly end: number
  readonly timeline: number
  /** Virtual time of its insertion. */
  readonly insertedAt: number
  /** What a transaction wrote; empty: housekeeping. */
  readonly versions: readonly Version[]
}

export interface Ancestor {
  readonly timeline: number
  /** Where it was left: everything up to and including this position is part of the later timeline. */
  readonly switchAt: number
}

/** XLogShortPHD and XLogLongPHD: what precedes the first record on a page, and on the first page of a segment. */
const SHORT_PAGE_HEADER = 24
const LONG_PAGE_HEADER = 40
const ALIGNMENT = 8
/** The share of records that end exactly at a page's end: rare in life, where every rare thing happens. */
const PAGE_END_SHARE = 0.1

export interface Geometry {
  /** Bytes in a page. */
  readonly blockSize: number
  /** Bytes in a segment: a multiple of the page. */
  readonly segmentSize: number
  /** The 64-bit position of the log's beginning: a multiple of the segment. */
  readonly origin: bigint
}

export class Wal {
  readonly geometry: Geometry
  readonly records: WalRecord[]
  timeline: number
  /** The timelines before the present one, oldest first. */
  ancestors: readonly Ancestor[]
  #lsnOf = -1
  #lsn = 0n

  constructor(geometry: Geometry, records: readonly WalRecord[] = [], timeline = 1, ancestors: readonly Ancestor[] = []) {
    this.geometry = geometry
    this.records = [...records]
    this.timeline = timeline
    this.ancestors = ancestors
  }

  /** The end of the last record. */
  get end(): number {
    return this.records.at(-1)?.end ?? LONG_PAGE_HEADER
  }

  /** Where the next record would begin, as `pg_current_wal_insert_lsn()` tells: behind the header of a new page. */
  get insertPosition(): number {
    return beginAfter(this.end, this.geometry)
  }

  /** How many records end at or before `position`. */
  countUpTo(position: number): number {
    let low = 0
    let high = this.records.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.records[middle]!.end <= position) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Appends a record of about `size` bytes. */
  insert(versions: readonly Version[], now: number, random: Random): WalRecord {
    const size = 64 + versions.length * 48 + random.below(12) * ALIGNMENT
    const end = endOfRecord(this.insertPosition, size, random.chance(PAGE_END_SHARE), this.geometry)
    const record = { end, timeline: this.timeline, insertedAt: now, versions }
    this.records.push(record)
    return record
  }

  /** Cuts off what ends behind `position`. */
  truncate(position: number): void {
    this.records.length = this.countUpTo(position)
  }

  /** Begins a new timeline at the end of the last record. */
  branch(timeline: number): void {
    this.ancestors = [...this.ancestors, { timeline: this.timeline, switchAt: this.end }]
    this.timeline = timeline
  }

  /** A copy of the first `count` records, as of the timeline they were on. */
  copy(count = this.records.length): Wal {
    const end = this.records[count - 1]?.end ?? 0
    const passed = this.ancestors.findIndex(ancestor => end <= ancestor.switchAt)
    return passed < 0
      ? new Wal(this.geometry, this.records.slice(0, count), this.timeline, this.ancestors)
      : new Wal(this.geometry, this.records.slice(0, count), this.ancestors[passed]!.timeline, this.ancestors.slice(0, passed))
  }

  /** The last answer is kept: a server at rest is asked where it is over and over. */
  lsn(position: number): bigint {
    if (position !== this.#lsnOf) {
      this.#lsnOf = position
      this.#lsn = this.geometry.origin + BigInt(position)
    }
    return this.#lsn
  }
}

function beginAfter(end: number, { blockSize, segmentSize }: Geometry): number {
  if (end % segmentSize === 0) return end + LONG_PAGE_HEADER
  return end % blockSize === 0 ? end + SHORT_PAGE_HEADER : end
}

/** A record goes on over as many pages as it needs, each with its header. None ends within 8 bytes of a header. */
function endOfRecord(start: number, size: number, fillsPage: boolean, geometry: Geometry): number {
  const { blockSize, segmentSize } = geometry
  const pageEnd = start + blockSize - (start % blockSize)
  const end = start + size
  if (end < pageEnd) return fillsPage && pageEnd - start >= ALIGNMENT * 3 ? pageEnd : end
  if (end === pageEnd) return end
  const header = pageEnd % segmentSize === 0 ? LONG_PAGE_HEADER : SHORT_PAGE_HEADER
  return endOfRecord(pageEnd + header, Math.max(ALIGNMENT, end - pageEnd), false, geometry)
}
