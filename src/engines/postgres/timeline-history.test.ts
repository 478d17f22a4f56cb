import pg from 'pg'
import { expect, test } from 'vitest'
import { systemClock } from '../../core/clock.js'
import { parseLsn } from './lsn.js'
import { parseTimelineHistory, readTimelineHistory } from './timeline-history.js'

const exact = (timeline: number, lsn: string) => ({ timeline, includedUpTo: parseLsn(lsn), exact: true })

test('a history as PostgreSQL writes it', () => {
  const text = '1\t0/3000148\tno recovery target specified\n\n2\t1A/B374D848\tbefore 2024-01-01 00:00:00+00\n'
  expect(parseTimelineHistory(text)).toEqual([exact(1, '0/3000148'), exact(2, '1A/B374D848')])
})

test('comments and blank lines count for nothing, and a reason may be missing', () => {
  expect(parseTimelineHistory('# a comment\n\n  \n  # another\n4294967294\t0/03000148\n')).toEqual([
    exact(4294967294, '0/3000148'),
  ])
  expect(parseTimelineHistory('')).toEqual([])
})

test.each([
  ['not a history', 'hello'],
  ['spaces for tabs', '1 0/3000148 reason'],
  ['something after the switch point', '1\t0/3000148x\treason'],
  ['no switch point', '1\t\treason'],
  ['half a switch point', '1\t0/\treason'],
  ['timeline 0', '0\t0/3000148\treason'],
  ['a timeline that is too large', '4294967296\t0/3000148\treason'],
  ['a negative timeline', '-1\t0/3000148\treason'],
  ['an invalid switch point', '1\t0/0\treason'],
  ['the same timeline twice', '1\t0/3000148\treason\n1\t0/4000000\treason'],
  ['timelines out of order', '2\t0/3000148\treason\n1\t0/4000000\treason'],
  ['a reason of two lines', '1\t0/3000148\tat restore point "a\nb"'],
  ['a good line and a bad one', '1\t0/3000148\treason\nx'],
])('refused: %s', (_, text) => {
  expect(() => parseTimelineHistory(text)).toThrow(SyntaxError)
})

test('an ancestor does not go beyond where a later one was left', () => {
  // Recovery along 2 to a point before the one where 2 had left 1: of 1 there is only what is before it.
  expect(parseTimelineHistory('1\t0/5000000\tr\n2\t0/4000000\tr\n3\t0/6000000\tr\n')).toEqual([
    exact(1, '0/4000000'),
    exact(2, '0/4000000'),
    exact(3, '0/6000000'),
  ])
})

test('nobody is asked about the first timeline, or about what is none', async () => {
  const neverAsked = new Proxy(pg, {
    get() {
      throw new Error('asked')
    },
  })
  const read = (timeline: number) => readTimelineHistory(neverAsked, {}, timeline, 1_000, systemClock)
  expect(await read(1)).toEqual({ timeline: 1, ancestors: [], source: 'replication-protocol' })
  for (const timeline of [0, -1, 1.5, Number.NaN, 2 ** 32]) expect(await read(timeline)).toBeUndefined()
})

test('a server that is not there, settings that the driver refuses, no time left: no answer, and no rejection', async () => {
  const read = (config: pg.PoolConfig, timeoutMs: number) => readTimelineHistory(pg, config, 2, timeoutMs, systemClock)
  expect(await read({ host: '127.0.0.1', port: 1 }, 1_000)).toBeUndefined()
  expect(await read({ connectionString: 'postgres://%' }, 1_000)).toBeUndefined()
  expect(await read({ host: '127.0.0.1', port: 1 }, 0)).toBeUndefined()
})
