/** Holds what happened against the rules: the checker's, and the simulator's own. */
import { checkHistory } from '../../testing/history/check-history.js'
import type { HistoryRecord } from '../../testing/history/record.js'
import { exclude } from './exclusions.js'
import { judgeOperations } from './own-rules.js'
import { recordOf } from './recorder.js'
import type { SimWorld } from './sim-world.js'
import { Truth } from './truth.js'

/** The history, of which nothing is left out that was judged. */
export async function judgeWorld(world: SimWorld): Promise<readonly HistoryRecord[]> {
  const { recorder, violations, plan } = world
  const truth = new Truth(world.cluster.versionRecords(), world.cluster.finalRecords())
  const operations = exclude(recorder.noted, truth, world)
  judgeOperations(operations, truth, plan.quorums, violations)
  world.fills.judge(truth, violations)
  const records: readonly HistoryRecord[] = [...operations.map(recordOf), ...truth.versions, ...truth.finals]
  const report = await checkHistory(records)
  for (const { rule, message, records: about } of report.violations) {
    violations.add(rule, message, about.flatMap(record => (record.type === 'op' ? [record.id] : [])))
  }
  return records
}
