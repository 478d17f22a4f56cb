import { expect, test } from 'vitest'
import { standbysWaitedFor } from './remote-apply.js'

test.each<[string, number]>([
  ['', 0],
  ['  ', 0],
  ['*', 1],
  ['a, b', 1],
  ['2 (a, b, c)', 2],
  ['FIRST 3 (a, b, c)', 3],
  ['first 1 (a)', 1],
  ['ANY 2 (*)', 2],
  [' any  2(a, "b c")', 2],
  // Names that look like the words or numbers of a quorum.
  ['"any", b', 1],
  ['any2, b', 1],
])('a commit with synchronous_standby_names = %j waits for %i', (setting, standbys) => {
  expect(standbysWaitedFor(setting)).toBe(standbys)
})
