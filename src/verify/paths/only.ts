import { type Ladder, type Rung, replica, type Step, wait } from '../../core/ladder.js'
import { hasIt, type Target } from '../../core/target.js'

/** Longer than any delay that a run makes; a pause outlasts it. */
const BUDGET_MS = 1_000

/** A ladder on which one replica may serve, at once or when it has caught up, and nobody else. */
export function only(node: string): Ladder {
  return [among(node, replica()), among(node, wait({ budgetMs: BUDGET_MS }))]
}

/** The rung as it is, for a read that all other nodes have failed. */
function among(id: string, rung: Rung): Rung {
  return {
    ...rung,
    step(situation): Step {
      const others = situation.cluster.nodes.filter(node => node.id !== id)
      const step = rung.step({ ...situation, excluded: new Set([...(situation.excluded ?? []), ...others]) })
      return step?.kind === 'wait' ? { ...step, target: on(id) } : step
    },
  }
}

function on(id: string): Target {
  return {
    key: `on ${id}`,
    reached: (cluster, lineage, offset) => cluster.nodes.some(node => node.id === id && hasIt(node, cluster, lineage, offset)),
  }
}
