import { expect, test } from 'vitest'
import { runBatch } from '../../src/proof/fuzz/run-batch.js'
import { tokenTarget } from '../../src/proof/fuzz/token-target.js'

test('tokens', async () => {
  const target = tokenTarget()
  const batch = await runBatch(target, { seed: 1, timeLimitMs: 4000 })
  console.log(batch, target.seen.counts)
})
