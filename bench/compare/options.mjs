// Everything that is compared, in the order of the table.
import { drizzleReplicas, kyselyReplicas, typeormReplicas } from './library-options.mjs'
import { pgpoolOptions } from './pgpool-options.mjs'
import { alwaysThePrimary, fixedWait, processPin, randomReplica, sessionPin, storedLsn } from './plain-options.mjs'
import { prismaOptions } from './prisma-options.mjs'
import { tidemarkOptions } from './tidemark-options.mjs'

export const OPTIONS = [
  alwaysThePrimary,
  randomReplica,
  drizzleReplicas,
  kyselyReplicas,
  typeormReplicas,
  ...prismaOptions,
  sessionPin,
  processPin,
  storedLsn,
  fixedWait,
  ...pgpoolOptions,
  ...tidemarkOptions,
]
