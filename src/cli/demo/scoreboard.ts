/** How reads are answered; the names that machines see. */
export const POLICY_NAMES = ['any replica', 'primary', 'tidemark'] as const
export type PolicyName = (typeof POLICY_NAMES)[number]

/** One read, as counted. */
export interface ReadSample {
  readonly node: string
  readonly elapsedMs: number
  /** Whether somebody read who has posted something under this policy. */
  readonly byAuthor: boolean
  /** The answer lacked the reader's own newest photo. */
  readonly missed: boolean
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
}

const LATENCIES = 4_096

/** Counts what each policy did. */
export class Scoreboard {
  readonly #nodes: readonly string[]
  #tallies: ReadonlyMap<PolicyName, Tally>

  constructor(nodes: readonly string[]) {
    this.#nodes = nodes
    this.#tallies = this.#empty()
  }

  reset(): void {
    this.#tallies = this.#empty()
  }

  wrote(policy: PolicyName): void {
    this.#tallies.get(policy)!.writes++
  }

  read(policy: PolicyName, { node, elapsedMs, byAuthor, missed }: ReadSample): void {
    const tally = this.#tallies.get(policy)!
    tally.latencies[tally.reads % LATENCIES] = elapsedMs
    tally.reads++
    tally.byNode[node] = (tally.byNode[node] ?? 0) + 1
    if (!byAuthor) tally.byNodeForFollowers[node] = (tally.byNodeForFollowers[node] ?? 0) + 1
    if (byAuthor) tally.ownReads++
    if (missed) tally.violations++
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
    }
  }

  scores(): Score[] {
    return POLICY_NAMES.map(name => this.score(name))
  }

  #empty(): ReadonlyMap<PolicyName, Tally> {
    return new Map(POLICY_NAMES.map(name => [name, new Tally(this.#nodes)]))
  }
}

class Tally {
  writes = 0
  reads = 0
  ownReads = 0
  violations = 0
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
