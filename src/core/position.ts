/**
 * Positions: where a node's log is, as a partial order with a join.
 *
 * A position is a map from *lineage* to a 64-bit offset. A lineage is one line of history in which offsets are totally
 * ordered: for PostgreSQL one timeline of one system (`<system id>/<timeline>`), for MariaDB a GTID domain, for several
 * regions one per region. Offsets of different lineages are never compared as numbers: that is what makes the order
 * partial, and what keeps a position of a history that was cut off by a failover from looking "caught up".
 *
 * The order is pointwise and the join is the pointwise maximum, so positions form a join-semilattice: `join` is
 * commutative, associative and idempotent, and carriers may deliver positions twice, late or in any order.
 */

/** How one position stands to another. */
export type Ordering = 'before' | 'equal' | 'after' | 'incomparable'

/** One line of history and how far along it. */
export interface PositionEntry {
  /** Names a totally ordered log; at most {@link MAX_LINEAGE_BYTES} bytes of UTF-8. */
  readonly lineage: string
  /** Unsigned 64-bit offset in that log. */
  readonly offset: bigint
}

export const MAX_LINEAGE_BYTES = 48
/** Beyond every position that a log ever reaches: "somewhere in this lineage". */
export const MAX_OFFSET = 0xffff_ffff_ffff_ffffn

export class Position {
  /** The bottom of the order: before or equal to every position; a fence of `zero` asks for nothing. */
  static readonly zero = new Position([])

  /** Sorted by lineage, one entry a lineage. */
  readonly entries: readonly PositionEntry[]

  private constructor(entries: readonly PositionEntry[]) {
    this.entries = entries
  }

  /** The position at `offset` of one lineage. Throws `RangeError` when the offset does not fit 64 unsigned bits. */
  static at(lineage: string, offset: bigint): Position {
    if (offset < 0n || offset > MAX_OFFSET) throw new RangeError(`offset ${offset} does not fit in 64 unsigned bits`)
    return new Position([{ lineage, offset }])
  }

  /** The join of single entries, in any order, with repetitions. */
  static of(entries: Iterable<PositionEntry>): Position {
    let result = Position.zero
    for (const entry of entries) result = result.join(Position.at(entry.lineage, entry.offset))
    return result
  }

  get isZero(): boolean {
    return this.entries.length === 0
  }

  /**
   * The greatest position such that each of its entries is included by at least `count` of `positions`. For `count` 1 it is their
   * join, for all of them their greatest lower bound. Throws `RangeError` when `count` is not from 1 to their number.
   */
  static sharedBy(count: number, positions: readonly Position[]): Position {
    if (!(Number.isInteger(count) && count >= 1 && count <= positions.length)) {
      throw new RangeError(`count is ${count}; expected a whole number from 1 to ${positions.length}`)
    }
    const lineages = new Set(positions.flatMap(({ entries }) => entries.map(({ lineage }) => lineage)))
    const shared: PositionEntry[] = []
    for (const lineage of lineages) {
      const offsets = positions.flatMap(position => position.offsetIn(lineage) ?? [])
      const offset = offsets.sort((a, b) => (a < b ? 1 : a > b ? -1 : 0))[count - 1]
      if (offset !== undefined) shared.push({ lineage, offset })
    }
    return Position.of(shared)
  }

  /** The offset in one lineage, or `undefined` when this position says nothing about it. */
  offsetIn(lineage: string): bigint | undefined {
    for (const entry of this.entries) if (entry.lineage === lineage) return entry.offset
    return undefined
  }

  /** Whether this position is equal to or after `other`: everything that `other` includes, this one includes. */
  includes(other: Position): boolean {
    for (const entry of other.entries) {
      const mine = this.offsetIn(entry.lineage)
      if (mine === undefined || mine < entry.offset) return false
    }
    return true
  }

  compare(other: Position): Ordering {
    const after = this.includes(other)
    const before = other.includes(this)
    if (after) return before ? 'equal' : 'after'
    return before ? 'before' : 'incomparable'
  }

  /** The least position that includes both. Returns an operand itself when it already includes the other. */
  join(other: Position): Position {
    if (this.includes(other)) return this
    if (other.includes(this)) return other
    const [mine, theirs] = [this.entries, other.entries]
    const merged: PositionEntry[] = []
    let i = 0
    let j = 0
    while (i < mine.length && j < theirs.length) {
      const a = mine[i]!
      const b = theirs[j]!
      merged.push(a.lineage < b.lineage || (a.lineage === b.lineage && a.offset > b.offset) ? a : b)
      if (a.lineage <= b.lineage) i++
      if (b.lineage <= a.lineage) j++
    }
    return new Position([...merged, ...mine.slice(i), ...theirs.slice(j)])
  }

  /** What of this position `other` does not include. */
  without(other: Position): Position {
    const entries = this.entries.filter(({ lineage, offset }) => offset > (other.offsetIn(lineage) ?? -1n))
    return entries.length === this.entries.length ? this : new Position(entries)
  }

  /** For people and logs; engines have a better way to write their own. */
  toString(): string {
    return this.isZero ? 'zero' : this.entries.map(e => `${e.lineage}@${e.offset}`).join(' + ')
  }
}
