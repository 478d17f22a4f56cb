import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { allProcesses, childrenOf, commandLine, hasEnded, isHalted, ownIdentity } from './process-info.js'

test('a process has ended when its pid is free, was given to another, or is from before a reboot', async () => {
  const own = ownIdentity()
  expect(hasEnded(own)).toBe(false)
  expect(hasEnded({ ...own, startedAt: `${own.startedAt}0` })).toBe(true)
  expect(hasEnded({ ...own, boot: 'another' })).toBe(true)
  const child = spawn(process.execPath, ['-e', ''])
  await once(child, 'close')
  expect(hasEnded({ ...own, pid: child.pid! })).toBe(true)
})

test('of a process in another container nothing is known, so it has not ended', () => {
  expect(hasEnded({ ...ownIdentity(), namespace: 'another', startedAt: '1' })).toBe(false)
})

test('a child is found with its command line and its state', async () => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1_000)', 'a mark'])
  await once(child, 'spawn')
  const pid = child.pid!
  expect(allProcesses()).toContain(pid)
  expect(childrenOf(process.pid)).toContain(pid)
  await expect.poll(() => commandLine(pid)).toContain('a mark')
  expect(isHalted(pid)).toBe(false)
  child.kill('SIGSTOP')
  await expect.poll(() => isHalted(pid)).toBe(true)
  child.kill('SIGKILL')
  await once(child, 'close')
  expect([commandLine(pid), childrenOf(process.pid).includes(pid), isHalted(pid)]).toEqual(['', false, true])
})
