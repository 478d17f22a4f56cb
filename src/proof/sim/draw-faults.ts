/** Draws what breaks: in storms, with quiet between them, since what is wrong is often only wrong once all is well again. */
import type { Random } from './random.js'
import type { Death, Fault, FaultStep, Target, World } from './schedule.js'

/**
 * Histories that the cluster goes through in one seed. A token holds four, and says "uncertain" beyond that, which tells
 * nobody of a lost write; that takes a session that stays away for four failovers, and is its documented limit.
 */
const MAX_NEW_HISTORIES = 3

export function drawFaults(random: Random, world: World, fromMs: number, toMs: number): FaultStep[] {
  const steps: FaultStep[] = []
  if (random.chance(0.08)) return steps
  // How many are left.
  let newHistories = MAX_NEW_HISTORIES
  for (let at = fromMs + random.around(200); at < toMs; at += 150 + random.around(600)) {
    for (let i = random.int(1, 3); i > 0; i--) {
      const fault = drawFault(random, world, newHistories)
      if (fault.name === 'failover') newHistories -= fault.promote.length
      if (fault.name === 'split') newHistories--
      steps.push({ kind: 'fault', at: Math.min(toMs, at + random.around(30)), fault })
    }
  }
  return steps
}

function drawFault(random: Random, world: World, newHistories: number): Fault {
  const router = random.int(0, world.routers.length - 1)
  const target: Target = random.chance(0.4) ? 'primary' : random.int(0, 3)
  const ms = 20 + random.around(150)
  const name = random.weighted({ ...weightsOf(world), ...(newHistories <= 0 && { failover: 0, split: 0 }) })
  switch (name) {
    case 'crash':
      // A standby that restarts further back has lost what it had applied, which quorums do not cover.
      return {
        name,
        target,
        how: random.weighted<Death>({ crashes: 5, 'loses power': 3, stops: 2 }),
        behind: world.quorums ? 0 : random.int(0, 4),
        ms,
      }
    case 'freeze':
    case 'cut-replication':
      return { name, target, ms }
    case 'pause-replay':
      return { name, target: random.int(0, 3), ms }
    case 'rebuild':
      return {
        name,
        target: random.int(0, 3),
        ageMs: random.around(300),
        detached: random.chance(0.4),
        ms: random.chance(0.25) ? 0 : ms * 2,
      }
    case 'cut':
      return { name, router, target, oneWay: random.chance(0.4), ms }
    case 'slow-link':
      return { name, router, target, delayMs: random.pick([10, 60, 400]), ms }
    case 'slow-replication':
      return { name, target: random.int(0, 3), delayMs: random.pick([20, 100, 500]), ms }
    case 'delay-replay':
      return { name, target: random.int(0, 3), delayMs: random.pick([20, 100, 500]), ms: ms * 2 }
    case 'lose-answers':
      return { name, router, target, chance: random.pick([0.05, 0.3]), ms }
    case 'reset':
      return { name, router, target }
    case 'failover':
      return {
        name,
        promote: random.some([0, 1, 2, 3], newHistories > 1 && random.chance(0.25) ? 2 : 1),
        afterMs: random.int(5, 150),
        comesBack: random.pick(['as-primary', 'as-standby']),
        ms,
      }
    case 'split':
      return {
        name,
        promote: random.int(0, 3),
        cutRouters: world.routers.map((_, i) => i).filter(() => random.chance(0.5)),
        loyal: [0, 1, 2].filter(() => random.chance(0.5)),
        ms,
      }
    case 'clock-jump':
      return { name, router, byMs: random.int(-5_000, 5_000) }
    case 'peer-clock-jump':
      return {
        name,
        target: random.int(0, 3),
        byMs: random.pick([-20_000, -300, 300, 5_000]),
        restarts: random.chance(0.6),
        alone: false,
        ms,
      }
    case 'clock-drift':
      return { name, router, rate: random.pick([0.5, 0.9, 1.1, 2]), ms }
    case 'join':
      return { name, applyDelayMs: 0, ms: ms * 3 }
    case 'leave':
      return { name, target: random.int(0, 3), ms: ms * 2 }
    case 'store-fails':
      return { name, how: random.pick(['fails', 'hangs', 'slow']), ms }
    case 'cache-fails':
      return { name, how: random.pick(['fails', 'hangs', 'forgets']), ms }
    case 'router-restart':
      return { name, router }
  }
}

/** What can break in this world, and how often. */
function weightsOf({ store, quorums, topology }: World): Record<Fault['name'], number> {
  const physical = topology === 'physical'
  return {
    crash: 10,
    freeze: 6,
    cut: 8,
    'cut-replication': 6,
    'slow-link': 8,
    'slow-replication': 6,
    'delay-replay': 8,
    'pause-replay': 10,
    'lose-answers': 8,
    reset: 4,
    rebuild: quorums ? 0 : 12,
    failover: quorums || !physical ? 0 : 8,
    split: quorums || !physical ? 0 : 8,
    'peer-clock-jump': physical ? 0 : 8,
    'clock-jump': 2,
    'clock-drift': 3,
    join: quorums ? 12 : 4,
    leave: quorums ? 12 : 4,
    'store-fails': store === undefined || store.fails === 'never' ? 0 : 8,
    'cache-fails': 3,
    'router-restart': 3,
  }
}
