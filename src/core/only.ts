import { type Ladder, type Rung, replica, type Step, wait } from './ladder.js'
import { hasIt, type Target } from './target.js'

/**
 * A ladder on which one replica may serve, at once or when it has applied the fence within the budget, and nobody else. For whoever
 * wants to know what that replica does; `budgetMs` is the bound of the wait.
 */
export function only(node: string, budgetMs: number): Ladder {
  return [among(node, replica()), among(node, wait({ budgetMs }))]
}

/** The rung as it is for a read that all other nodes have failed. */
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
