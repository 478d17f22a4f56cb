/** Holds what happened against the rules: the checker's, and the simulator's own. */
import { checkHistory } from '../../testing/history/check-history.js'
import type { HistoryRecord } from '../../testing/history/record.js'
import {
  excludeSilentLosses,
  isBeyondToken,
  isOfLostWrite,
  isOfTransaction,
  isToldMeanwhile,
  isUnheard,
  rulesOf,
} from './exclusions.js'
import { judgeOperations, judgeOwnCaches, judgeServers } from './own-rules.js'
import { type Noted, recordOf } from './recorder.js'
import type { SimWorld } from './sim-world.js'
import { Truth } from './truth.js'

/** The history, as it was judged. */
export async function judgeWorld(world: SimWorld): Promise<readonly HistoryRecord[]> {
  const { cluster, losses, plan, recorder, tally, violations } = world
  const final = cluster.finalValues()
  const truth = new Truth(
    cluster.versions.map(version => ({ type: 'version', ...version })),
    keysOf(world).map(key => ({ type: 'final', key, value: final.get(key) ?? null })),
    cluster.shownAt,
  )
  tally.add('loss by a commit that nobody can tell', losses.size)
  countWorld(world)
  const operations = excludeSilentLosses(
    recorder.noted.map(noted => located(noted, truth)),
    losses,
  )
  judgeOperations(operations, truth, { quorums: plan.quorums, rivals: world.rivalHistories }, violations)
  world.fills.judge(truth, violations)
  judgeOwnCaches(operations, violations)
  const records: readonly HistoryRecord[] = [
    ...operations.map(noted => recordOf(noted, world.joinsDevices)),
    ...truth.versions,
    ...truth.finals,
    ...world.gauges,
  ]
  const rivals = world.rivalHistories || plan.topology === 'leaderless'
  const report = await checkHistory(records, { rules: rulesOf(plan) })
  tally.add('loss reported', report.lostWrites.reported)
  for (const violation of report.violations) {
    const { rule, message, records: about } = violation
    if (isOfLostWrite(violation, truth, world.rivalHistories) || isOfTransaction(violation, truth, operations, rivals)) continue
    if (isBeyondToken(violation, truth, world)) continue
    if (isToldMeanwhile(violation, operations, rivals) || isUnheard(violation, operations)) continue
    const ids = about.flatMap(record => (record.type === 'op' ? [record.id] : []))
    violations.add(rule, message, ids)
  }
  // After the checker, whose rules say more where both are broken.
  judgeServers(operations, truth, world, violations)
  return records
}

/** Every key that anything was ever written to. */
function keysOf({ cluster }: SimWorld): readonly string[] {
  return [...new Set(cluster.versions.map(({ key }) => key))]
}

/** A write that was not answered, with the key that it took effect under. */
function located(noted: Noted, truth: Truth): Noted {
  if (noted.writes === undefined || noted.status === 'ok') return noted
  return { ...noted, writes: noted.writes.map(([key, value]) => [truth.keyOf(value) ?? key, value]) }
}

/** What the world was, and what its operations came to, for the coverage of a run. */
function countWorld({ plan, recorder, tally }: SimWorld): void {
  tally.add(`topology ${plan.topology}`)
  if (plan.store !== undefined) tally.add(`token store fails: ${plan.store.fails}`)
  for (const { strategy } of plan.routers) if (typeof strategy === 'string') tally.add(`preset ${strategy}`)
  for (const { doubted, tokenless } of recorder.noted) {
    if (doubted) tally.add('commit in doubt')
    if (tokenless) tally.add('known user without a token')
  }
}
