/**
 * Rule 4, the failover verdict: whether what was written in an older history is part of the one that the cluster is
 * writing now. Offsets of different histories are never compared as numbers; what makes a comparison meaningful is the
 * present history's own record of where it left the older one (PostgreSQL: the timeline history file).
 */
import { isLater, parseLineage } from './engine.js'

/** What became of a position. */
export type Verdict =
  /** It is of the present history, or of one that the present history continues, at or below where it left it. */
  | 'preserved'
  /** Of a history that the present one continues, beyond the point where it left it. */
  | 'possibly-lost'
  /** Of another system, or of a history that the present one does not go through. */
  | 'foreign'
  /**
   * The present history's record could not be read, and what was observed does not tell. Treated as possibly lost. In a leaderless
   * cluster: it may be with a peer that cannot be asked, and a fence goes on asking for it.
   */
  | 'unknown'

/** An older history that the present one goes through. */
export interface Ancestor {
  readonly lineage: string
  /** Everything up to and including this offset is part of the present history. */
  readonly includedUpTo: bigint
  /** Whether it was left exactly there, or there at the earliest. */
  readonly exact: boolean
}

/** What is known of the histories that came before `lineage`. */
export class Ancestry {
  readonly lineage: string
  readonly #ancestors = new Map<string, Ancestor>()
  /** All of them are known, each exactly: what is not among them is foreign. */
  complete: boolean

  constructor(lineage: string, ancestors: readonly Ancestor[] = [], complete = false) {
    this.lineage = lineage
    this.complete = complete
    for (const ancestor of ancestors) this.#ancestors.set(ancestor.lineage, ancestor)
  }

  /** Takes in what somebody else knows. What is exact stays; of two lower bounds the greater is the better one. */
  learn(ancestors: readonly Ancestor[], complete: boolean): void {
    for (const ancestor of ancestors) {
      const known = this.#ancestors.get(ancestor.lineage)
      if (known?.exact) continue
      if (ancestor.exact || known === undefined || known.includedUpTo < ancestor.includedUpTo) {
        this.#ancestors.set(ancestor.lineage, ancestor)
      }
    }
    this.complete ||= complete
  }

  /**
   * What is known without asking anybody when `promoted` was seen to have applied `applied` of this lineage, in the same
   * life: a promotion keeps all that the standby had applied. A lower bound, for this lineage and those before it.
   */
  continuedBy(promoted: string, applied: bigint): Ancestry {
    const kept = [...this.#ancestors.values()].map(({ lineage, includedUpTo }) => ({
      lineage,
      includedUpTo: includedUpTo < applied ? includedUpTo : applied,
      exact: false,
    }))
    return new Ancestry(promoted, [...kept, { lineage: this.lineage, includedUpTo: applied, exact: false }])
  }

  ancestor(lineage: string): Ancestor | undefined {
    return this.#ancestors.get(lineage)
  }

  verdict(lineage: string, offset: bigint): Verdict {
    if (lineage === this.lineage) return 'preserved'
    if (parseLineage(lineage)?.system !== parseLineage(this.lineage)?.system) return 'foreign'
    // Of what came after it, or branched off later, no history tells.
    if (isLater(lineage, this.lineage)) return 'unknown'
    const ancestor = this.#ancestors.get(lineage)
    if (ancestor === undefined) return this.complete ? 'foreign' : 'unknown'
    if (offset <= ancestor.includedUpTo) return 'preserved'
    return ancestor.exact ? 'possibly-lost' : 'unknown'
  }
}
