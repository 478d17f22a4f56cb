import { defineConfig } from 'vitest/config'

export default defineConfig({
  // Examples import the library by its name, which stands for its sources here.
  resolve: { tsconfigPaths: true },
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts', 'examples/**/*.test.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Real clusters are started by the test files; two at a time is what a small machine carries.
    maxWorkers: 2,
  },
})
