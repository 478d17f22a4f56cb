import { test } from 'vitest'
import { commandLineTarget } from '../../src/proof/fuzz/command-line-target.js'
import { historyTarget } from '../../src/proof/fuzz/history-target.js'
import { runBatch } from '../../src/proof/fuzz/run-batch.js'

test.each([historyTarget(), commandLineTarget()])(
  '%s',
  async target => {
    const found = new Set<string>()
    for (let seed = 1; seed < 10; seed++) {
      const { failure } = await runBatch(target as never, { seed, timeLimitMs: 1000 })
      if (failure) found.add(failure.message.split('\n').slice(0, 3).join('|') + ' <= ' + failure.input.slice(0, 300))
    }
    console.log(found, target.seen.counts)
  },
  100_000,
)
