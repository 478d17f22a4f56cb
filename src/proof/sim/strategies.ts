/** Rungs, ladders and policies from their plans. */
import { type Ladder, notReady, pinned, primary, type Rung, replica, sessionCache, stale, wait } from '../../core/ladder.js'
import { quorum } from '../../core/quorum.js'
import { appliedOn, type WritePolicy } from '../../core/write-policy.js'
import type { Random } from './random.js'
import type { PolicyPlan, RungPlan } from './schedule.js'

export function ladderOf(plans: readonly RungPlan[]): Ladder {
  return plans.map(rungOf)
}

export function policyOf({ where, timeoutMs, onTimeout }: PolicyPlan): WritePolicy {
  return where === 'quorum' ? quorum('majority', { timeoutMs, onTimeout }) : appliedOn(where, { timeoutMs, onTimeout })
}

function rungOf(plan: RungPlan): Rung {
  switch (plan.rung) {
    case 'replica':
      return replica({ region: plan.own ? 'own' : 'any' })
    case 'wait':
      return wait({ region: plan.own ? 'own' : 'any', budgetMs: plan.budgetMs })
    case 'primary':
      return primary({ maxInFlight: plan.maxInFlight })
    case 'pinned':
      return pinned({ to: plan.to, maxShare: plan.maxShare })
    case 'quorum':
      return quorum('majority', { timeoutMs: 300 })
    case 'sessionCache':
      return sessionCache({ ttlMs: plan.ttlMs })
    case 'stale':
      return stale({ maxLagMs: plan.maxLagMs })
    case 'notReady':
      return notReady()
  }
}

/**
 * Two to five rungs in any order, which need not make sense together. With `quorums`, those are among them: writes are then
 * acknowledged by quorums, too, or the rung would refuse to read.
 */
export function drawLadder(random: Random, quorums: boolean): readonly RungPlan[] {
  // What a pin is worth shows only where nothing below it is fenced.
  if (random.chance(0.15)) return PINNED_OR_STALE
  const rungs = random.some(RUNGS, random.int(1, 4)).filter(rung => quorums || rung !== 'quorum')
  const plans = rungs.map(rung => drawRung(rung, random))
  // A ladder without the primary at its end is one that often serves nobody: now and then.
  const last = random.weighted({ primary: 80, notReady: 10, nothing: 10 })
  if (last === 'nothing') return plans
  return [...plans, last === 'primary' ? { rung: last, maxInFlight: random.pick([1, 2, 64]) } : { rung: last }]
}

const PINNED_OR_STALE: readonly RungPlan[] = [
  { rung: 'pinned', to: 'node', maxShare: 1 },
  { rung: 'stale', maxLagMs: 60_000 },
  { rung: 'primary', maxInFlight: 64 },
]

const RUNGS = ['replica', 'wait', 'primary', 'pinned', 'quorum', 'sessionCache', 'stale'] as const

function drawRung(rung: (typeof RUNGS)[number], random: Random): RungPlan {
  switch (rung) {
    case 'replica':
      return { rung, own: random.chance(0.4) }
    case 'wait':
      return { rung, own: random.chance(0.3), budgetMs: random.pick([5, 50, 400]) }
    case 'primary':
      return { rung, maxInFlight: random.pick([1, 2, 64]) }
    case 'pinned':
      return { rung, to: random.pick(['node', 'region']), maxShare: random.pick([0.01, 0.5, 1]) }
    case 'sessionCache':
      return { rung, ttlMs: random.pick([100, 10_000]) }
    case 'stale':
      return { rung, maxLagMs: random.pick([0, 50, 1_000]) }
    default:
      return { rung }
  }
}
