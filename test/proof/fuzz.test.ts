import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { EMPTY_HISTORY } from '../../src/core/history.js'
import { TokenCodec } from '../../src/core/token/codec.js'
import { readLayout } from '../../src/core/token/layout.js'
import { runBatch } from '../../src/proof/fuzz/run-batch.js'
import { Observer } from '../../src/proof/fuzz/sql/observer.js'
import { openSqlTarget } from '../../src/proof/fuzz/sql/sql-target.js'
import type { Target } from '../../src/proof/fuzz/target.js'
import { tokenTarget } from '../../src/proof/fuzz/token-target.js'

// Each target finds nothing in the library, and what is wrong with a version of it that is broken on purpose: a fuzzer that
// finds nothing proves nothing otherwise.

/** The failure that some seed comes to, each tried for up to two seconds. */
async function failureIn<Case>(target: Target<Case>, seeds = 20) {
  for (let seed = 1; seed <= seeds; seed++) {
    const { failure } = await runBatch(target, { seed, timeLimitMs: 2_000 })
    if (failure !== undefined) return failure
  }
  return undefined
}

test('sql', async () => {
  const target = (await openSqlTarget())!
  for (let seed = 1; seed < 24; seed++) {
    const batch = await runBatch(target, { seed, timeLimitMs: 5000 })
    if (batch.failure) console.log(batch, batch.failure?.message)
  }
  console.log(target.seen.counts)
  await target.close()
  const broken = (await openSqlTarget({ override: classify => text => classify(text) || /^with/.test(text) }))!
  for (let seed = 1; seed < 5; seed++) {
    const batch = await runBatch(broken, { seed, timeLimitMs: 5000 })
    console.log(batch, batch.failure?.message, broken.seen.counts)
  }
  await broken.close()
}, 200_000)
