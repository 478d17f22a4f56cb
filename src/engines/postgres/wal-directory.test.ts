import { expect, test } from 'vitest'
import { ancestorFromNames, ancestorFromWalDirectory, type WalDirectory } from './wal-directory.js'

const SIZE = 16n * 1024n * 1024n
const hex = (n: number) => n.toString(16).toUpperCase().padStart(8, '0')
/** Segment `number` of 16 MiB, 256 in each 4 GiB. */
const file = (timeline: number, number: number) => hex(timeline) + hex(Math.floor(number / 256)) + hex(number % 256)
const files = (timeline: number, ...numbers: number[]) => numbers.map(number => file(timeline, number))
const read = (timeline: number, names: string[], more: Partial<WalDirectory> = {}) =>
  ancestorFromNames(timeline, { segmentSize: SIZE, first: names, second: names, ...more })
const bound = (timeline: number, number: number) => ({ timeline, includedUpTo: BigInt(number) * SIZE, exact: false })

const TIDY = [...files(1, 3, 4, 5), ...files(2, 5, 6, 7)]

test('the segment in which a timeline began, when the one before it is still there', () => {
  expect(read(2, TIDY)).toEqual(bound(1, 5))
  expect(read(2, [...TIDY].reverse())).toEqual(bound(1, 5))
  expect(read(2, [...files(1, 254, 255), ...files(2, 256)])).toEqual(bound(1, 256))
  expect(read(3, [...TIDY, ...files(3, 7, 8)])).toEqual(bound(2, 7))
  // Two promotions within one segment: up to its start it was the first timeline.
  expect(read(3, [...files(1, 4, 5), ...files(2, 5), ...files(3, 5, 6)])).toEqual(bound(1, 5))
  // Left exactly at the end of a segment.
  expect(read(2, [...files(1, 4), ...files(2, 5)])).toEqual(bound(1, 5))
})

test('names that are not those of whole segments count for nothing', () => {
  const others = ['00000002.history', `${file(1, 5)}.partial`, `${file(1, 4)}.00000028.backup`, 'xlogtemp.123', 'archive_status']
  expect(read(2, [...TIDY, ...others])).toEqual(bound(1, 5))
  expect(read(2, [`${file(1, 4)}.partial`, ...files(2, 5, 6)])).toBeUndefined()
  expect(read(2, [file(1, 4).toLowerCase().replace('0', 'a'), ...files(2, 5, 6)])).toBeUndefined()
})

test.each<[string, string[], Partial<WalDirectory>?]>([
  ['nothing there', []],
  ['no segment of the timeline', files(1, 3, 4)],
  ['no older segment: any number of its own may have been removed', files(2, 5, 6)],
  ['an older one of the same number only', [...files(1, 5), ...files(2, 5, 6)]],
  ['an older one, but not the one before', [...files(1, 3), ...files(2, 5, 6)]],
  ['a gap among the older ones', [...files(1, 2, 4), ...files(2, 5, 6)]],
  ['a gap among its own', [...files(1, 4), ...files(2, 5, 7)]],
  ['two candidates for the parent', [...files(1, 3, 4), ...files(2, 4), ...files(3, 5)]],
  ['an older one beyond the beginning', [...files(1, 4, 5, 6), ...files(2, 5, 6)]],
  ['a later timeline', [...TIDY, ...files(3, 7)]],
  ['an older timeline that comes back', [...files(2, 3), ...files(1, 4), ...files(2, 5)]],
  ['a name that this segment size cannot have', [...TIDY, `${hex(2)}${hex(0)}${hex(256)}`]],
  ['a segment size that cannot be', TIDY, { segmentSize: 3n }],
  ['an older one that is gone in the second listing', TIDY, { second: TIDY.slice(1) }],
  ['an older one that is new in the second listing', TIDY, { second: [...TIDY, file(1, 2)] }],
])('no claim: %s', (what, names, more) => {
  expect(read(what.startsWith('two candidates') ? 3 : 2, names, more)).toBeUndefined()
})

test('removal by number never makes a bound exceed the switch point', () => {
  // Every way to begin a timeline after one or two others, and every number up to which a pass has removed.
  let claims = 0
  for (let first = 2; first <= 6; first++) {
    for (let second = first; second <= 7; second++) {
      for (let removed = 0; removed <= 8; removed++) {
        const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i)
        const all = [...files(1, ...range(1, first)), ...files(2, ...range(first, second)), ...files(3, ...range(second, 9))]
        const kept = all.filter(name => Number.parseInt(name.slice(8), 16) > removed)
        const claim = read(3, kept)
        if (claim === undefined) continue
        claims++
        // At the latest at the start of the segments in which they were left.
        expect(claim.includedUpTo).toBeLessThanOrEqual(BigInt(claim.timeline === 1 ? first : second) * SIZE)
      }
    }
  }
  expect(claims).toBeGreaterThan(50)
})

test.each<[string, Record<string, unknown>, string?]>([
  ['a standby', { timeline: null }],
  ['a server on another timeline', { timeline: '00000003' }],
  ['a server that started after the timeline began', { began_here: 'false' }],
  ['a server without the history file', { began_here: null }],
  ['a server that archives', { archive_mode: 'on' }],
  ['Windows', { shared_memory: 'windows' }],
  ['a checkpointer at work', {}, 'WALSync'],
])('no claim from %s', async (_, changed, waitEvent = 'CheckpointerMain') => {
  const settings = {
    timeline: '00000002',
    began_here: 'true',
    segment_size: String(SIZE),
    archive_mode: 'off',
    shared_memory: 'posix',
  }
  const server = (row: object, wait: string | null) => async (sql: string) => {
    if (sql.includes('wal_segment_size')) return [{ ...row }]
    if (sql.includes('checkpointer')) return [{ wait_event: wait }]
    return sql.includes('pg_ls_waldir') ? TIDY.map(name => ({ name })) : []
  }
  expect(await ancestorFromWalDirectory(server({ ...settings, ...changed }, waitEvent), 2)).toBeUndefined()
  expect(await ancestorFromWalDirectory(server(settings, 'CheckpointerMain'), 2)).toEqual(bound(1, 5))
})
