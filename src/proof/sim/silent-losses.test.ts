/** An acknowledged commit that a crash takes on its own timeline: whoever holds its position waits until the log is there again. */
import { expect, test } from 'vitest'
import { playSchedule } from './play-schedule.js'
import type { Schedule, Step } from './schedule.js'

/** What seed 3736 once came to, by hand: nobody writes any more after the crash. */
test('when all is at rest, a replica serves also who holds the position of what was lost', async () => {
  const write = (at: number): Step => ({
    kind: 'request',
    at,
    device: 'u-d1',
    newDevice: false,
    router: 0,
    parallel: false,
    actions: [
      {
        action: 'write',
        keys: ['k'],
        scoped: false,
        cache: false,
        asyncCommit: true,
        withNext: false,
        ladder: undefined,
        abortMs: undefined,
      },
    ],
    requestMs: 1,
    responseMs: 1,
    fate: 'delivered',
    forged: undefined,
  })
  const crash: Step = { kind: 'fault', at: 240, fault: { name: 'crash', target: 'primary', how: 'crashes', behind: 0, ms: 30 } }
  // More of them than the housekeeping of the next start fills up.
  const steps = [200, 204, 208, 212, 216, 220].map(write)
  const router = { region: 'eu', strategy: 'token-fence', writePolicy: undefined, lostWrites: 'reissue' } as const
  const clocks = { wallOffsetMs: 0, rate: 1, pollIntervalMs: 100, balanced: false, readsHistory: true }
  const schedule: Schedule = {
    seed: 1,
    world: {
      summary: 'by hand',
      topology: 'physical',
      nodes: ['db-1', 'db-2'].map(id => ({ id, region: 'eu' })),
      routers: [{ ...router, ...clocks }],
      devices: [{ id: 'u-d1', user: 'u', carrier: 'cookie', guarantee: 'read-your-writes' }],
      keys: ['k'],
      asyncCommit: true,
      store: undefined,
      positionLagMs: 0.4,
      quorums: false,
    },
    steps: [...steps, crash],
    endMs: 500,
  }
  const { coverage, violations } = await playSchedule(schedule)
  expect(coverage).toMatchObject({ 'loss by a commit that nobody can tell': expect.any(Number) })
  expect(violations).toEqual([])
})
