/**
 * Which faults come, in what order, on whom, for how long: all of it follows from the seed. What a real cluster makes of it does not:
 * how long a promotion takes, and what is under way when it begins, is the machine's business.
 */
import { Random } from '../random.js'

/** Where a fault happens. Nodes by their role: which server the primary is depends on the promotions before. */
export type Target = 'primary' | 'replica 1' | 'replica 2' | 'router 1' | 'router 2' | 'router 3' | 'cluster'

const REPLICAS: readonly Target[] = ['replica 1', 'replica 2']
const NODES: readonly Target[] = ['primary', ...REPLICAS]
const ROUTERS: readonly Target[] = ['router 1', 'router 2', 'router 3']

/** Every kind, and where it may happen. */
export const FAULT_TARGETS = {
  kill: NODES,
  freeze: NODES,
  pause: REPLICAS,
  lag: REPLICAS,
  deafen: REPLICAS,
  delay: NODES,
  cut: NODES,
  halfOpen: NODES,
  promote: ['cluster'],
  rebuild: REPLICAS,
  fillPools: ROUTERS,
  restartRouter: ROUTERS,
  killRouter: ROUTERS,
} as const satisfies Record<string, readonly Target[]>

export type FaultKind = keyof typeof FAULT_TARGETS

export const FAULT_KINDS = Object.keys(FAULT_TARGETS) as FaultKind[]

export interface PlannedFault {
  readonly kind: FaultKind
  readonly target: Target
  /** Since the round began. */
  readonly afterMs: number
  readonly holdMs: number
  /** In [0, 1): decides between variants of the kind. */
  readonly variant: number
}

/** Faults that overlap. After a round the cluster must become whole again before the next one begins. */
export type Round = readonly PlannedFault[]

const MOST_IN_A_ROUND = 3

/**
 * Rounds without end. Kinds are dealt like cards: each comes once before any comes again, as far as a round can take it, so that a run
 * of a few minutes has all of them.
 */
export function* schedule(seed: number, kinds: readonly FaultKind[] = FAULT_KINDS): Generator<Round, never> {
  const random = new Random(seed)
  let deck: FaultKind[] = []
  for (;;) {
    const round: PlannedFault[] = []
    const size = random.whole(1, MOST_IN_A_ROUND)
    if (deck.length < size) deck = [...deck, ...random.shuffled(kinds)]
    for (const kind of [...deck]) {
      if (round.length === size) break
      const target = freeTarget(kind, round, random)
      if (target === undefined) continue
      deck.splice(deck.indexOf(kind), 1)
      round.push({ kind, target, afterMs: random.whole(0, 1_000), holdMs: random.whole(1_000, 4_000), variant: random.next() })
    }
    yield round
  }
}

function freeTarget(kind: FaultKind, round: Round, random: Random): Target | undefined {
  const free = FAULT_TARGETS[kind].filter(target => round.every(other => !collide({ kind, target }, other)))
  return free.length === 0 ? undefined : random.pick(free)
}

type Placed = Pick<PlannedFault, 'kind' | 'target'>

/**
 * One fault a node at a time, since the kit refuses to pause what is down. A promotion takes all nodes. During it two servers are
 * primaries, and a router that could reach the old one only would take it for the only one, as nothing can tell it better; so
 * nothing is cut then. To rebuild a replica takes a primary that answers.
 */
function collide(a: Placed, b: Placed): boolean {
  if (a.target === b.target) return true
  const isNode = ({ target }: Placed) => NODES.includes(target)
  if (a.kind === 'promote') return isNode(b)
  if (b.kind === 'promote') return isNode(a)
  const stops = ({ kind, target }: Placed) => target === 'primary' && (kind === 'kill' || kind === 'freeze')
  return (a.kind === 'rebuild' && stops(b)) || (b.kind === 'rebuild' && stops(a))
}
