import type { SimulatedLeaderlessCluster } from '../../engines/simulated/leaderless-cluster.js'

/** A leaderless world, as far as it matters here; one with a primary has no `leaderless`. */
export interface Departures {
  readonly leaderless: SimulatedLeaderlessCluster | undefined
  /** Peers that have left, for a while at least. */
  readonly departed: ReadonlySet<string>
}

/**
 * The values that only peers have which have left, and which a router that knows `known` does not know now. One that it knows counts
 * with all that it has, also while it cannot be asked: whoever goes on without having asked it is wrong.
 */
export function outOfReach({ leaderless, departed }: Departures, known: readonly { readonly id: string }[]): readonly string[] {
  if (leaderless === undefined) return []
  const away = [...departed].filter(id => !known.some(node => node.id === id))
  const peers = known.map(({ id }) => leaderless.server(id))
  // Whoever has a record of a log has all before it.
  const reached = (log: string) => Math.max(0, ...peers.map(peer => peer.recordsOf(log).length))
  const records = away
    .map(id => leaderless.server(id))
    .flatMap(peer => [...peer.logs].flatMap(log => peer.recordsOf(log).slice(reached(log))))
  return records.flatMap(({ record }) => record.versions.map(({ value }) => value))
}
