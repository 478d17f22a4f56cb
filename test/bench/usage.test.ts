/** What the benchmarks' command line says; none is run. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const MAIN = join(import.meta.dirname, '..', '..', 'bench', 'main.mjs')

function run(...args: string[]): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
  return new Promise(resolve => {
    const child = execFile(process.execPath, [MAIN, ...args], { timeout: 20_000 }, (_, stdout, stderr) => {
      resolve({ code: child.exitCode ?? -1, stdout, stderr })
    })
  })
}

test.each([[['--help']], [['compare', '-h']]])('%j explains itself on stdout', async args => {
  const { code, stdout, stderr } = await run(...args)
  expect([code, stderr]).toEqual([0, ''])
  expect(stdout).toMatch(/Usage: npm run bench -- <benchmark>[\s\S]*compare[\s\S]*--quick/)
})

test.each([
  [[], /expected one of overhead, presets, compare/],
  [['fly'], /expected one of .*, not 'fly'/],
  [['toString'], /expected one of .*, not 'toString'/],
  [['compare', 'twice'], /not 'compare twice'/],
  [['compare', '--slot-ms', '5'], /a whole number from 100 to 60000, not '5'/],
  [['overhead', '--slot-ms', '500'], /--slot-ms is for compare/],
  [['compare', '--fast'], /^bench: Unknown option '--fast'\n/],
])('%j is a usage error: exit code 2, a reason on stderr, nothing on stdout', async (args, expected) => {
  const { code, stdout, stderr } = await run(...args)
  expect([code, stdout]).toEqual([2, ''])
  expect(stderr).toMatch(expected)
})
