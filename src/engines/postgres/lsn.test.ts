import fc from 'fast-check'
import { expect, test } from 'vitest'
import { endOfLastRecord, formatLsn, parseLsn } from './lsn.js'

const anyLsn = fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn })
const geometry = { segmentSize: 16n * 1024n * 1024n, blockSize: 8192n }

test('an LSN survives being written and read, in all 64 bits', () => {
  fc.assert(
    fc.property(anyLsn, lsn => {
      expect(parseLsn(formatLsn(lsn))).toBe(lsn)
    }),
  )
  expect(parseLsn('FFFFFFFF/FFFFFFFF')).toBe(0xffff_ffff_ffff_ffffn)
  expect(parseLsn('16/B374D848')).toBe(0x16_b374_d848n)
  expect(parseLsn('0/0')).toBe(0n)
})

test.each(['', '0', '0/', '/0', '0/0/0', '123456789/0', '0/123456789', 'G/0', ' 0/0', '0/0 ', '-1/0', '0x1/0'])(
  '%j is not an LSN',
  text => {
    expect(() => parseLsn(text)).toThrow(SyntaxError)
  },
)

test('the header of a page, and of a segment, is taken off', () => {
  const segment = 5n * geometry.segmentSize
  expect(endOfLastRecord(segment + 40n, geometry)).toBe(segment)
  expect(endOfLastRecord(segment + 8192n + 24n, geometry)).toBe(segment + 8192n)
})

test('nothing else is rounded: a fence never lies in front of the record that it is for', () => {
  const segment = 5n * geometry.segmentSize
  // 40 bytes into a page that is not a segment's first, and 24 into one that is, are ends of records like any other.
  for (const lsn of [
    segment,
    segment + 24n,
    segment + 32n,
    segment + 48n,
    segment + 8192n,
    segment + 8192n + 40n,
    segment + 8192n + 32n,
  ]) {
    expect(endOfLastRecord(lsn, geometry)).toBe(lsn)
  }
  fc.assert(
    fc.property(anyLsn, lsn => {
      const end = endOfLastRecord(lsn, geometry)
      expect(end === lsn || end % geometry.blockSize === 0n).toBe(true)
      expect(lsn - end).toBeLessThanOrEqual(40n)
    }),
  )
})
