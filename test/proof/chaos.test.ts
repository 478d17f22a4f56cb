/**
 * `npm run chaos`, shortly: real servers, real routers in processes of their own, one failover that loses writes. And the control: an
 * application that is built wrongly is caught, so that nothing found means something.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { checkHistory, readHistory } from '../../src/testing/index.js'
import { CompiledCli } from '../cli/compiled-cli.js'

const TIMEOUT_MS = 180_000

let chaos: CompiledCli
beforeAll(async () => {
  chaos = await CompiledCli.compile(join('proof', 'chaos', 'main.js'))
})
afterAll(() => chaos?.remove())

const FAULTS = ['promote', 'killRouter', 'kill', 'halfOpen', 'pause']

test('a short run has every fault that was asked for, and nothing is violated', { timeout: TIMEOUT_MS }, async () => {
  // They are in the first two rounds of this seed.
  const { code, stdout, stderr } = await chaos.run(['--rounds', '2', '--seed', '142', '--faults', FAULTS.join(), '--json'])
  const verdict = JSON.parse(stdout)
  expect(verdict, stderr).toEqual({
    ops: expect.any(Number),
    faults: Object.fromEntries([...FAULTS, 'rejoin'].map(kind => [kind, expect.any(Number)])),
    violations: 0,
    lostReported: expect.any(Number),
    lostUnreported: 0,
    worstStallMs: expect.any(Number),
  })
  expect(code, stderr).toBe(0)
  expect(Math.min(...Object.values<number>(verdict.faults))).toBeGreaterThan(0)
  // Not vacuous: there was traffic, and the failover did lose what had been acknowledged.
  expect(verdict.ops).toBeGreaterThan(100)
  expect(verdict.lostReported).toBeGreaterThan(0)
})

test.each([
  { flaw: 'unfenced', fault: 'pause', rounds: '4', seed: '1', rule: 'read-your-writes', lost: 0 },
  { flaw: 'stripped', fault: 'pause', rounds: '4', seed: '1', rule: 'read-your-writes', lost: 0 },
  { flaw: 'silent', fault: 'promote', rounds: '1', seed: '1', rule: 'lost-writes-reported', lost: 1 },
] as const)(
  'an application that is $flaw is caught',
  { timeout: TIMEOUT_MS },
  async ({ flaw, fault, rounds, seed, rule, lost }) => {
    const { code, stdout, stderr } = await chaos.run([
      '--rounds',
      rounds,
      '--seed',
      seed,
      '--faults',
      fault,
      '--flaw',
      flaw,
      '--json',
    ])
    expect(code, stderr).toBe(1)
    const verdict = JSON.parse(stdout)
    expect(verdict.violations).toBeGreaterThan(0)
    expect(verdict.lostUnreported).toBeGreaterThanOrEqual(lost)
    // What is kept shows it again.
    const [, path] = /the history is in (\S+)/.exec(stderr)!
    const { rules } = await checkHistory(readHistory(path!))
    expect(rules[rule].violations).toBeGreaterThan(0)
    for (const each of stderr.matchAll(/the history is in (\S+)/g)) rmSync(each[1]!)
  },
)

test.each([
  [['--minutes', '0'], '--minutes must be a number above 0'],
  [['--rounds', '1.5'], '--rounds must be a whole number'],
  [['--faults', 'cut,rain'], "there is no 'rain'; expected one of kill, freeze"],
  [['--seed', 'x'], '--seed must be a whole number'],
  [['now'], "Unexpected argument 'now'"],
])('%j is refused', async (args, reason) => {
  const { code, stdout, stderr } = await chaos.run(args)
  expect([code, stdout]).toEqual([2, ''])
  expect(stderr).toContain(reason)
})
