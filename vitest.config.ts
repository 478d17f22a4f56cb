import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Real clusters are started by the test files; two at a time is what a small machine carries.
    maxWorkers: 2,
  },
})
