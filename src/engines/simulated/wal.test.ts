import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { endOfLastRecord } from './position-answers.js'
import { Random } from './random.js'
import { type Geometry, Wal } from './wal.js'

const GEOMETRY: Geometry = { blockSize: 1024, segmentSize: 4096, origin: 1n << 62n }

function filled(seed: number, count: number): Wal {
  const random = new Random(seed)
  const wal = new Wal(GEOMETRY)
  const version = (i: number) => ({ key: 'k', value: String(i), prev: null })
  for (let i = 0; i < count; i++)
    wal.insert(
      Array.from({ length: random.below(30) }, (_, n) => version(n)),
      i,
      random,
    )
  return wal
}

describe('Wal', () => {
  test('records follow one another, and the insert position is behind the last by a page header or nothing', () => {
    let boundaries = 0
    fc.assert(
      fc.property(fc.integer(), seed => {
        const random = new Random(seed)
        const wal = new Wal(GEOMETRY)
        for (let i = 0; i < 200; i++) {
          const before = wal.insertPosition
          const { end } = wal.insert([], i, random)
          expect(end).toBeGreaterThan(before)
          // No record ends in a page's header or right behind it: what the rounding relies on.
          const header = end % GEOMETRY.segmentSize < GEOMETRY.blockSize ? 40 : 24
          const inPage = end % GEOMETRY.blockSize
          expect(inPage === 0 || inPage >= header + 8).toBe(true)
          const ahead = wal.insertPosition - end
          if (end % GEOMETRY.segmentSize === 0) expect(ahead).toBe(40)
          else expect(ahead).toBe(inPage === 0 ? 24 : 0)
          if (ahead > 0) boundaries++
          expect(endOfLastRecord(wal.lsn(wal.insertPosition), GEOMETRY)).toBe(wal.lsn(end))
        }
      }),
      { numRuns: 15 },
    )
    expect(boundaries).toBeGreaterThan(150)
  })

  test('positions have 64 bits without loss', () => {
    const wal = filled(1, 3)
    expect(wal.lsn(wal.end) - (1n << 62n)).toBe(BigInt(wal.end))
  })

  test('a copy is on the timeline that its last record was on, with the history from before', () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 20 }), fc.integer({ min: 0, max: 60 }), (seed, step, count) => {
        const random = new Random(seed)
        const wal = new Wal(GEOMETRY)
        for (let i = 1; i <= 60; i++) {
          wal.insert([], i, random)
          if (i % step === 0) wal.branch(wal.timeline + 1)
        }
        const copy = wal.copy(count)
        expect(copy.records).toEqual(wal.records.slice(0, count))
        const last = copy.records.at(-1)
        expect(copy.timeline).toBe(last?.timeline ?? 1)
        expect(copy.ancestors.map(({ timeline }) => timeline)).toEqual(Array.from({ length: copy.timeline - 1 }, (_, i) => i + 1))
        for (const { timeline, switchAt } of copy.ancestors) {
          const kept = wal.records.filter(record => record.end <= switchAt)
          expect(kept.every(record => record.timeline <= timeline)).toBe(true)
          expect(wal.records[kept.length]?.timeline ?? timeline + 1).toBeGreaterThan(timeline)
        }
      }),
    )
  })

  test('finds how many records end at or before a position', () => {
    const wal = filled(7, 50)
    for (const [i, { end }] of wal.records.entries()) {
      expect(wal.countUpTo(end)).toBe(i + 1)
      expect(wal.countUpTo(end - 1)).toBe(i)
    }
  })
})
