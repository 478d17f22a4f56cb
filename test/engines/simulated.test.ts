import { afterAll, describe, test } from 'vitest'
import { testEngine } from '../../src/testing/index.js'
import { simulatedUnderTest } from './simulated-under-test.js'

for (const seed of [1, 2, 3]) testEngine(simulatedUnderTest(seed), { describe, test, after: afterAll })
