/** Tokens of leaderless clusters: how many regions fit, and what becomes of more. */
import { expect, test } from 'vitest'
import { SECRET } from '../../../test/core/kit.js'
import { EMPTY_HISTORY, type History, sameHistory, UNCERTAIN_HISTORY } from '../history.js'
import { MAX_OFFSET, Position } from '../position.js'
import { TokenCodec } from './codec.js'

const codec = new TokenCodec({ secret: SECRET })
const carried = (history: History) => codec.decode(codec.encode(history, { boundTo: 'ann' }), { boundTo: 'ann' })
/** Written in `n` logs whose names are of 10 bytes. */
const regions = (n: number) =>
  Position.of(Array.from({ length: n }, (_, i) => ({ lineage: `shop/r${i}/12`.padEnd(10, '0'), offset: MAX_OFFSET - 1n })))

test('writes in 7 regions fit, with monotonic reads in 5; of more the session is uncertain, never less than it was', () => {
  const fits = (history: History) => {
    const back = carried(history)
    if (!sameHistory(back, history)) expect(sameHistory(back, UNCERTAIN_HISTORY)).toBe(true)
    return !back.uncertain
  }
  const counts = Array.from({ length: 16 }, (_, i) => i + 1)
  const written = counts.filter(n => fits({ ...EMPTY_HISTORY, writes: regions(n) }))
  const read = counts.filter(n => fits({ ...EMPTY_HISTORY, writes: regions(n), reads: regions(n) }))
  expect([Math.max(...written), Math.max(...read)]).toEqual([7, 5])
  expect([written.length, read.length]).toEqual([7, 5])
})

test('with marks of scopes, what finds no room folds into the mark of everything', () => {
  const marks = new Map(Array.from({ length: 8 }, (_, scope) => [scope, regions(5)] as const))
  const back = carried({ ...EMPTY_HISTORY, marks })
  expect(back.uncertain).toBe(false)
  expect(back.writes.includes(regions(5))).toBe(true)
})
