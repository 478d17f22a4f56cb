/**
 * What is exported: one list for Prometheus and OpenTelemetry alike. All measures of a scrape read one snapshot, taken then, so
 * nothing is counted twice, they agree with each other, and nothing costs anything between two scrapes.
 */

import type { Observed, ObservedNode } from '../core/observed.js'
import type { Stats } from '../core/stats.js'

/** A database at one moment. */
export interface Snapshot {
  readonly stats: Stats
  readonly nodes: readonly ObservedNode[]
  readonly waiting: number
}

export function snapshotOf(db: Observed): Snapshot {
  return { stats: db.stats(), nodes: db.status(), waiting: db.waiting }
}

/** One value and what it is of. Label values come from bounded sets. */
export type Sample = readonly [value: number, labels?: Readonly<Record<string, string>>]

export interface Measure {
  /** Dotted; Prometheus gets underscores, and `_total` for counters. */
  readonly name: string
  readonly kind: 'counter' | 'gauge'
  /** UCUM, as OpenTelemetry wants it; Prometheus names end in `seconds` or `bytes`. */
  readonly unit: string
  readonly help: string
  readonly labels: readonly string[]
  samples(of: Snapshot): readonly Sample[]
}

/** The one measure that is recorded read by read. */
export const ADDED_LATENCY = {
  name: 'tidemark.read.added_latency',
  unit: 's',
  help: 'Time that reads waited for replication; 0 on the fast path.',
} as const

const each = (counts: Readonly<Record<string, number>>, label: string): Sample[] =>
  Object.entries(counts).map(([name, value]) => [value, { [label]: name }])

/** By a condition: `reached` or not, `certain` or not. */
const byFlag = (yes: readonly Sample[], no: readonly Sample[], flag: string): Sample[] => [
  ...yes.map(([value, labels]): Sample => [value, { ...labels, [flag]: 'true' }]),
  ...no.map(([value, labels]): Sample => [value, { ...labels, [flag]: 'false' }]),
]

function counter(
  name: string,
  unit: string,
  help: string,
  labels: readonly string[],
  samples: (stats: Stats) => readonly Sample[],
): Measure {
  return { name: `tidemark.${name}`, kind: 'counter', unit, help, labels, samples: ({ stats }) => samples(stats) }
}

function nodeGauge(name: string, unit: string, help: string, valueAt: (node: ObservedNode) => number | undefined): Measure {
  const labels = ['node', 'region', 'role']
  const samples = ({ nodes }: Snapshot): Sample[] =>
    nodes.flatMap((node): Sample[] => {
      const value = valueAt(node)
      return value === undefined ? [] : [[value, { node: node.node, region: node.region ?? '', role: roleOf(node) }]]
    })
  return { name: `tidemark.node.${name}`, kind: 'gauge', unit, help, labels, samples }
}

/** Of an address that hides several servers it is another at every look. */
const roleOf = ({ balanced, role }: ObservedNode) => (balanced ? 'balanced' : (role ?? 'unknown'))

const seconds = (ms: number | undefined) => (ms === undefined ? undefined : ms / 1_000)

export const MEASURES: readonly Measure[] = Object.freeze([
  nodeGauge('staleness', 's', 'At most how long ago the primary was where this node is.', node => seconds(node.stalenessMs)),
  nodeGauge('lag', 'By', 'Log between the newest known position of the primary and this node.', node => node.behindBytes),
  nodeGauge('usable', '1', '1 when the node may serve, else 0.', node => Number(node.usable)),
  nodeGauge('in_flight', '{statement}', 'Statements sent by this process and not answered yet.', node => node.inFlight),
  nodeGauge('round_trip', 's', "Moving average of the monitor's round trip.", node => seconds(node.latencyMs)),
  {
    name: 'tidemark.waiting_readers',
    kind: 'gauge',
    unit: '{read}',
    help: 'Reads that are parked until a replica has caught up.',
    labels: [],
    samples: ({ waiting }) => [[waiting]],
  },
  counter('reads', '{read}', 'Reads by the rung that served and the guarantee achieved.', ['rung', 'guarantee'], ({ reads }) =>
    Object.entries(reads.byRungAndGuarantee).map(([pair, value]) => {
      const at = pair.lastIndexOf(' ')
      return [value, at < 0 ? { rung: pair, guarantee: pair } : { rung: pair.slice(0, at), guarantee: pair.slice(at + 1) }]
    }),
  ),
  counter('read.fallbacks', '{read}', 'Reads that a later rung of their ladder served, by why.', ['reason'], ({ reads }) =>
    each(reads.fallbacks, 'reason'),
  ),
  counter('reads.refused', '{read}', "Reads that ended without an answer, by the error's code.", ['code'], ({ reads }) =>
    each(reads.refused, 'code'),
  ),
  counter('reroutes', '{read}', 'Reads that a node could not serve and that were moved, by why.', ['reason'], ({ reads }) =>
    each(reads.reroutes, 'reason'),
  ),
  counter('waits', '{read}', 'Reads that waited, or did not because it would have been in vain.', ['result'], ({ waits }) =>
    each(waits, 'result'),
  ),
  counter('writes', '{write}', 'Writes; not certain when the answer was lost.', ['certain'], ({ writes }) =>
    byFlag([[writes.certain]], [[writes.uncertain]], 'certain'),
  ),
  counter('acknowledgements', '{write}', 'Writes held by a policy.', ['policy', 'reached'], ({ writes }) =>
    byFlag(each(writes.reached, 'policy'), each(writes.unreached, 'policy'), 'reached'),
  ),
  counter('tokens', '{token}', 'Tokens issued, accepted, and joined with others.', ['event'], ({ tokens }) => [
    [tokens.issued, { event: 'issued' }],
    [tokens.accepted, { event: 'accepted' }],
    [tokens.merged, { event: 'merged' }],
  ]),
  counter('tokens.rejected', '{token}', 'Tokens that were refused and count as none.', ['reason'], ({ tokens }) =>
    each(tokens.rejected, 'reason'),
  ),
  counter('quorum.reads', '{read}', 'Reads of a quorum, by how many nodes answered.', ['size'], ({ quorums }) =>
    each(quorums, 'size'),
  ),
  counter(
    'cache.reads',
    '{read}',
    "Reads of fenced caches, and of authors' own values: hit, miss, refused by the fence, failed, bypassed.",
    ['cache', 'result'],
    ({ cache }) =>
      (['fenced', 'session'] as const).flatMap(kind =>
        each(cache[kind], 'result').map(([value, labels]): Sample => [value, { cache: kind, ...labels }]),
      ),
  ),
  counter('possibly_lost', '{session}', 'Sessions that were told that writes may be lost.', ['verdict'], ({ lostWrites }) =>
    // Before it happens, too: from a series that begins at 1 no rate tells that it has grown.
    each({ 'possibly-lost': 0, unknown: 0, foreign: 0, ...lostWrites }, 'verdict'),
  ),
  counter('failovers', '{failover}', 'Times that another node became the primary.', [], ({ failovers }) => [[failovers]]),
  ...(['reads', 'violations', 'failures'] as const).map(what =>
    counter(`canary.${what}`, '{read}', `Canary reads by path: ${what}.`, ['path'], ({ canary }) =>
      Object.entries(canary).map(([path, counts]): Sample => [counts[what], { path }]),
    ),
  ),
  counter('warnings', '{warning}', 'Things that an operator should mend.', [], ({ warnings }) => [[warnings]]),
])
