import { expect, test } from 'vitest'
import { ConfigurationError } from '../../core/errors.js'
import { type CheckRow, identityOf, observationOf } from './position-query.js'
import { upperBoundOf } from './read-bound.js'

const row: CheckRow = {
  recovering: true,
  received: '0/3000100',
  applied: '0/3000100',
  timeline: '2',
  system: '7',
  started: '1700000000.000001',
  version: 180_004,
  segment_size: '16777216',
  block_size: '8192',
  may_see: true,
}
const identity = identityOf(row)
const seen = (changes: Partial<CheckRow>) => observationOf({ ...row, ...changes }, identity, 1, 2)

test('a server that is too old is refused with what to do', () => {
  expect(() => identityOf({ ...row, version: 120_015 })).toThrow(ConfigurationError)
  expect(() => identityOf({ ...row, version: 120_015 })).toThrow(/PostgreSQL 12 is too old.*Upgrade/)
})

test('a standby whose history may not be seen is refused; a primary tells it to everybody', () => {
  expect(() => identityOf({ ...row, may_see: false })).toThrow(/GRANT pg_monitor/)
  expect(identityOf({ ...row, may_see: false, recovering: false }).system).toBe('7')
})

test('another start of the server is another incarnation', () => {
  expect(identityOf({ ...row, started: '1700000000.000002' }).incarnation).not.toBe(identity.incarnation)
})

test('null is unknown, never a position', () => {
  expect(seen({ timeline: null })).toMatchObject({ epoch: undefined })
  expect(seen({ applied: null })).toMatchObject({ applied: undefined })
})

test.each([{ timeline: '' }, { timeline: 'x' }, { timeline: '0' }, { timeline: '-1' }, { applied: '' }, { applied: 'x/y' }])(
  'unparsable %j throws',
  changes => {
    expect(() => seen(changes)).toThrow(SyntaxError)
  },
)

test('a standby tells its timeline in decimal, a primary in the hexadecimal of its file names', () => {
  expect(seen({ timeline: '10' })).toMatchObject({ role: 'replica', epoch: 10 })
  expect(seen({ recovering: false, timeline: '00000010' })).toMatchObject({ role: 'primary', epoch: 16 })
})

test("only a primary's position carries a page header", () => {
  expect(seen({ applied: '0/3002018' }).applied).toBe(0x3002018n)
  expect(seen({ recovering: false, timeline: '00000001', applied: '0/3002018' }).applied).toBe(0x3002000n)
})

test('what a read on a standby has shown is bounded by one past the replay position, while a record may be in flight', () => {
  const bound = (changes: Partial<CheckRow>) => upperBoundOf({ ...row, ...changes }, identity)?.entries[0]
  expect(bound({})).toEqual({ lineage: '7/2', offset: 0x3000100n })
  expect(bound({ received: '0/3000200' })).toEqual({ lineage: '7/2', offset: 0x3000101n })
  expect(bound({ received: null })).toEqual({ lineage: '7/2', offset: 0x3000101n })
  expect(bound({ timeline: null })).toBeUndefined()
  expect(bound({ recovering: false, timeline: '00000002', received: null })).toEqual({ lineage: '7/2', offset: 0x3000100n })
})
