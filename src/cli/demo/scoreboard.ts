/** How reads are answered; the names that machines see. */
export const POLICY_NAMES = ['any replica', 'primary', 'tidemark'] as const
export type PolicyName = (typeof POLICY_NAMES)[number]

/** One read, as counted. */
export interface ReadSample {
  readonly node: string
  /** Whether that node was the primary then. */
  readonly onPrimary: boolean
  readonly elapsedMs: number
  /** Whether somebody read who has posted something under this policy. */
  readonly byAuthor: boolean
  /** The answer lacked the reader's own newest photo, and nobody had said that it may be lost. */
  readonly missed: boolean
  /** It was reported with this answer that a write of the reader may be lost. */
  readonly lossReported: boolean
}

export interface Score {
  readonly name: PolicyName
  readonly writes: number
  readonly reads: number
  /** Reads of an author after their own write: those that could miss it. */
  readonly ownReads: number
  readonly violations: number
  readonly readsByNode: Readonly<Record<string, number>>
  /** Those of people who have posted nothing. */
  readonly followerReadsByNode: Readonly<Record<string, number>>
  /** Of the newest {@link LATENCIES} reads; `null` before the first. */
  readonly p50Ms: number | null
  readonly p99Ms: number | null
  /** Reads that the primary of the time served. */
  readonly primaryReads: number
  /** How often an author was told that a write of theirs may be lost. */
  readonly lostWritesReported: number
  /** Reads and writes that were answered with an error. */
  readonly failedRequests: number
}

const LATENCIES = 4_096

/** Counts what each policy did. */
export class Scoreboard {
  readonly #nodes: readonly string[]
  readonly #tallies: Map<PolicyName, Tally>

  constructor(nodes: readonly string[]) {
    this.#nodes = nodes
    this.#tallies = new Map(POLICY_NAMES.map(name => [name, new Tally(nodes)]))
  }

  /** Begins anew, with one policy or with all. */
  reset(policy?: PolicyName): void {
    for (const name of policy === undefined ? POLICY_NAMES : [policy]) this.#tallies.set(name, new Tally(this.#nodes))
  }

  wrote(policy: PolicyName): void {
    this.#tallies.get(policy)!.writes++
  }

  failed(policy: PolicyName): void {
    this.#tallies.get(policy)!.failedRequests++
  }

  read(policy: PolicyName, { node, onPrimary, elapsedMs, byAuthor, missed, lossReported }: ReadSample): void {
    const tally = this.#tallies.get(policy)!
    tally.latencies[tally.reads % LATENCIES] = elapsedMs
    tally.reads++
    tally.byNode[node] = (tally.byNode[node] ?? 0) + 1
    if (!byAuthor) tally.byNodeForFollowers[node] = (tally.byNodeForFollowers[node] ?? 0) + 1
    if (byAuthor) tally.ownReads++
    if (missed) tally.violations++
    if (lossReported) tally.lostWritesReported++
    if (onPrimary) tally.primaryReads++
  }

  score(name: PolicyName): Score {
    const tally = this.#tallies.get(name)!
    const sorted = tally.latencies.toSorted((a, b) => a - b)
    return {
      name,
      writes: tally.writes,
      reads: tally.reads,
      ownReads: tally.ownReads,
      violations: tally.violations,
      readsByNode: { ...tally.byNode },
      followerReadsByNode: { ...tally.byNodeForFollowers },
      p50Ms: percentile(sorted, 50),
      p99Ms: percentile(sorted, 99),
      primaryReads: tally.primaryReads,
      lostWritesReported: tally.lostWritesReported,
      failedRequests: tally.failedRequests,
    }
  }

  scores(): Score[] {
    return POLICY_NAMES.map(name => this.score(name))
  }
}

class Tally {
  writes = 0
  reads = 0
  ownReads = 0
  violations = 0
  lostWritesReported = 0
  failedRequests = 0
  primaryReads = 0
  readonly latencies: number[] = []
  readonly byNode: Record<string, number>
  readonly byNodeForFollowers: Record<string, number>

  constructor(nodes: readonly string[]) {
    this.byNode = Object.fromEntries(nodes.map(node => [node, 0]))
    this.byNodeForFollowers = { ...this.byNode }
  }
}

/** Nearest rank. */
function percentile(sorted: readonly number[], percent: number): number | null {
  const value = sorted[Math.ceil((sorted.length * percent) / 100) - 1]
  return value === undefined ? null : Math.round(value * 100) / 100
}
