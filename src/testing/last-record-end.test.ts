import { expect, test } from 'vitest'
import { lastRecordEnd, parseLsn } from './last-record-end.js'

test('an LSN is a 64-bit number in two hexadecimal halves', () => {
  expect(parseLsn('16/B374D848')).toBe(0x16b374d848n)
  expect(parseLsn('FFFFFFFF/FFFFFFFF')).toBe(2n ** 64n - 1n)
})

test.each([
  ['0/3000028', '0/3000000', 'past the header of a segment'],
  ['0/3002018', '0/3002000', 'past the header of a page'],
  ['0/3000018', '0/3000000', 'where no segment header ends, but a page header would'],
  ['0/3002028', '0/3002028', 'behind a record in the middle of a page'],
  ['0/3002000', '0/3002000', 'at the end of a page'],
])('%s: the last record ends at %s (%s)', (insertLsn, expected) => {
  expect(lastRecordEnd(insertLsn)).toBe(parseLsn(expected))
})
