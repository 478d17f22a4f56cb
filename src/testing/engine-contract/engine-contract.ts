/** What every engine has to do, and must not do, case by case. */
import { captures } from './captures.js'
import { connections } from './connections.js'
import type { ContractCase } from './contract-case.js'
import type { Capabilities, ContractCluster } from './engine-under-test.js'
import { fences } from './fences.js'
import { lives } from './lives.js'
import { positions } from './positions.js'
import { Stage } from './stage.js'

export const ENGINE_CONTRACT: readonly ContractCase[] = Object.freeze([
  ...positions,
  ...captures,
  ...fences,
  ...connections,
  ...lives,
])

/** Why this case cannot be held against an engine with these capabilities; `undefined`: it can. */
export function missingFor({ needs = [] }: ContractCase, capabilities: Capabilities): string | undefined {
  const missing = needs.flatMap(need => (capabilities[need] === true ? [] : [`no ${need}: ${capabilities[need]}`]))
  return missing.length === 0 ? undefined : missing.join('; ')
}

/** Runs one case. Rejects with an `AssertionError` when the engine does not do it. */
export async function runCase(each: ContractCase, cluster: ContractCluster): Promise<void> {
  const stage = new Stage(cluster)
  try {
    await each.run(stage)
  } finally {
    await stage.end()
  }
}
