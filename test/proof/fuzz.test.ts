import { test } from 'vitest'
import { configurationTarget, ENTRY_POINTS } from '../../src/proof/fuzz/configuration-target.js'
import { catchUncaught } from '../../src/proof/fuzz/judge.js'
import { runBatch } from '../../src/proof/fuzz/run-batch.js'

catchUncaught()
test.each(['tidemark', 'tidemark, with good nodes', 'fencedCache', 'quorum', 'wait'])(
  '%s',
  async name => {
    const target = configurationTarget({ [name]: ENTRY_POINTS[name]! })
    const found = new Set<string>()
    for (let seed = 1; seed < 8; seed++) {
      const { failure } = await runBatch(target as never, { seed, timeLimitMs: 500 })
      if (failure) found.add(failure.message.split('\n').slice(0, 3).join('|') + ' <= ' + failure.input.slice(0, 200))
    }
    console.log(found, target.seen.counts)
    await target.close()
  },
  100_000,
)
