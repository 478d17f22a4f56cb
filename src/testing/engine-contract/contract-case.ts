import type { Capabilities } from './engine-under-test.js'
import type { Stage } from './stage.js'

/** One thing that an engine has to do, or must not. */
export interface ContractCase {
  readonly name: string
  /** What the cluster must be able to do for it. */
  readonly needs?: readonly (keyof Capabilities)[]
  /** It leaves a cluster behind that is of no use to the others. */
  readonly spoils?: boolean
  /** Rejects with an `AssertionError` when the engine does not do it. */
  run(stage: Stage): Promise<void>
}
