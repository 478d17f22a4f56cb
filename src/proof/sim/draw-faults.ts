/** Draws what breaks: in storms, with quiet between them, since what is wrong is often only wrong once all is well again. */
import type { Random } from './random.js'
import type { Fault, FaultStep, Target, World } from './schedule.js'

/**
 * Histories that the cluster goes through in one seed. A token holds four, and says "uncertain" beyond that, which tells
 * nobody of a lost write; that takes a session that stays away for four failovers, and is its documented limit.
 */
const MAX_NEW_HISTORIES = 3

export function drawFaults(random: Random, world: World, fromMs: number, toMs: number): FaultStep[] {
  const steps: FaultStep[] = []
  if (random.chance(0.08)) return steps
  let newHistories = 0
  for (let at = fromMs + random.around(200); at < toMs; at += 150 + random.around(600)) {
    for (let i = random.int(1, 3); i > 0; i--) {
      const fault = drawFault(random, world, newHistories < MAX_NEW_HISTORIES)
      if (fault.name === 'failover' || fault.name === 'split') newHistories++
      steps.push({ kind: 'fault', at: Math.min(toMs, at + random.around(30)), fault })
    }
  }
  return steps
}

function drawFault(random: Random, world: World, newHistory: boolean): Fault {
  const router = random.int(0, world.routers.length - 1)
  const target: Target = random.chance(0.4) ? 'primary' : random.int(0, 3)
  const ms = 20 + random.around(150)
  const name = random.weighted({ ...weightsOf(world), ...(!newHistory && { failover: 0, split: 0 }) })
  switch (name) {
    case 'crash':
    case 'freeze':
    case 'cut-replication':
      return { name, target, ms }
    case 'pause-replay':
    case 'rebuild':
      return { name, target: random.int(0, 3), ms }
    case 'cut':
      return { name, router, target, ms }
    case 'slow-link':
      return { name, router, target, delayMs: random.pick([10, 60, 400]), ms }
    case 'slow-replication':
      return { name, target: random.int(0, 3), delayMs: random.pick([20, 100, 500]), ms }
    case 'lose-answers':
      return { name, router, target, count: random.int(1, 3), ms }
    case 'failover':
      return {
        name,
        promote: random.int(0, 3),
        afterMs: random.int(5, 150),
        comesBack: random.pick(['as-primary', 'as-standby', 'as-primary-then-standby']),
        ms,
      }
    case 'split':
      return { name, promote: random.int(0, 3), cutRouters: world.routers.map((_, i) => i).filter(() => random.chance(0.5)), ms }
    case 'clock-jump':
      return { name, router, byMs: random.int(-5_000, 5_000) }
    case 'node-clock-jump':
      return { name, target, byMs: random.pick([-20_000, -500, 500, 20_000]) }
    case 'join':
      return { name, ms: ms * 3 }
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
function weightsOf({ topology, store, quorums }: World): Record<Fault['name'], number> {
  const physical = Number(topology === 'physical')
  return {
    crash: 10,
    freeze: 6,
    cut: 8,
    'cut-replication': 6,
    'slow-link': 8,
    'slow-replication': 12,
    'pause-replay': 10,
    'lose-answers': 8,
    rebuild: quorums ? 0 : 6,
    failover: quorums ? 0 : 8 * physical,
    split: quorums ? 0 : 4 * physical,
    'clock-jump': 3,
    'node-clock-jump': physical ? 1 : 8,
    join: 6 * physical,
    leave: 6 * physical,
    'store-fails': store === undefined || store.fails === 'never' ? 0 : 8,
    'cache-fails': 3,
    'router-restart': 3,
  }
}
