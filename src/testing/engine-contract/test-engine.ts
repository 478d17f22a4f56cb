import { ConfigurationError } from '../../core/errors.js'
import type { EngineNode, Lease, NodeSpec } from '../../core/execution/engine.js'
import { ENGINE_CONTRACT, missingFor, runCase } from './engine-contract.js'
import type { ContractCluster, EngineUnderTest } from './engine-under-test.js'

/** What is needed of a test framework: of `node:test` as it is; of Vitest, `{ describe, test, after: afterAll }`. */
export interface TestFramework {
  describe(name: string, body: () => void): unknown
  readonly test: {
    (name: string, body: () => Promise<void>): unknown
    skip(name: string, body: () => Promise<void>): unknown
  }
  /** Runs when everything in the enclosing `describe` has ended. */
  after(body: () => Promise<void>): unknown
}

/**
 * Declares the tests of the engine contract. Cases that leave the cluster as it was share one; the others get one each. A case that
 * needs a capability which is missing is skipped, under a name that says why. Throws `ConfigurationError` when no reason is given.
 *
 * A case ends by itself when the engine hangs, after several 15 s waits in the worst case.
 */
export function testEngine<L extends Lease, S extends NodeSpec, N extends EngineNode<L> & { readonly spec: S }>(
  engine: EngineUnderTest<L, S, N>,
  { describe, test, after }: TestFramework,
): void {
  for (const [name, capability] of Object.entries(engine.capabilities)) {
    if (capability === true || (typeof capability === 'string' && capability.trim() !== '')) continue
    throw new ConfigurationError(`the capability "${name}" must be true, or say in words why it is missing, not ${capability}`)
  }
  describe(`the engine contract: ${engine.name}`, () => {
    let shared: Promise<ContractCluster<L, S, N>> | undefined
    after(async () => {
      await (await shared)?.close()
    })
    for (const each of ENGINE_CONTRACT) {
      const missing = missingFor(each, engine.capabilities)
      const body = async () => {
        if (!each.spoils) {
          shared ??= engine.start()
          await runCase(each, (await shared) as unknown as ContractCluster)
          return
        }
        const own = await engine.start()
        try {
          await runCase(each, own as unknown as ContractCluster)
        } finally {
          await own.close()
        }
      }
      if (missing === undefined) {
        test(each.name, body)
        continue
      }
      console.warn(`the engine contract: ${engine.name}: SKIPPED: ${each.name} (${missing})`)
      test.skip(`${each.name} (SKIPPED: ${missing})`, body)
    }
  })
}
