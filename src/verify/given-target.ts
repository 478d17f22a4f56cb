import type { Driver } from '../engines/postgres/driver.js'
import { LagInjector } from './lag-injector.js'
import type { Target, VerifiedNode } from './target.js'

export interface GivenCluster {
  readonly nodes: readonly VerifiedNode[]
  readonly balancedUrl?: string | undefined
  /** Whether replicas may be made to lag. */
  readonly inject: boolean
}

/** Somebody's cluster: nothing is changed in its servers unless that was allowed. Throws `VerifyError` without the rights for that. */
export async function givenTarget({ nodes, balancedUrl, inject }: GivenCluster, driver: Driver): Promise<Target> {
  const injector = inject ? await LagInjector.open(nodes, driver) : undefined
  return {
    nodes,
    balancedUrl,
    lag: injector,
    failOver: undefined,
    get changed() {
      return injector?.changed ?? []
    },
    close: async () => injector?.close(),
  }
}
