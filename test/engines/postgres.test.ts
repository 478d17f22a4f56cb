import { afterAll, describe, test, vi } from 'vitest'
import { testEngine } from '../../src/testing/index.js'
import { postgresUnderTest } from './postgres-under-test.js'

// Some of them start a cluster of their own.
vi.setConfig({ testTimeout: 120_000 })

testEngine(postgresUnderTest, { describe, test, after: afterAll })
