import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { expect, onTestFinished, test } from 'vitest'
import { checkHistory } from './check-history.js'
import { HistoryRecorder } from './history-recorder.js'
import { MAX_LINE_LENGTH, readHistory } from './read-history.js'
import type { HistoryRecord } from './record.js'
import { writeHistory } from './write-history.js'

async function read(...chunks: readonly (string | Buffer)[]): Promise<HistoryRecord[]> {
  const records: HistoryRecord[] = []
  for await (const record of readHistory(Readable.from(chunks))) records.push(record)
  return records
}

const FINAL = '{"type":"final","key":"k","value":"é"}'

test('what is written is read again, wherever the chunks end', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'tidemark-history-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  let now = 0
  const recorder = new HistoryRecorder({ now: () => now++ })
  const first = recorder.begin({ session: 'ada', writes: [['k', 'v1', null]], path: 'primary' })
  const second = recorder.begin({ session: 'bob', writes: [['k', 'v2']] })
  recorder.end(first, { status: 'ok' })
  recorder.add({ type: 'gauge', name: 'parked', value: 1, bound: 2 })
  recorder.close()
  expect(recorder.records).toEqual([
    { type: 'op', id: 1, session: 'ada', start: 0, end: 2, status: 'ok', writes: [['k', 'v1', null]], path: 'primary' },
    { type: 'gauge', name: 'parked', value: 1, bound: 2 },
    { type: 'op', id: 2, session: 'bob', start: 1, status: 'unknown', writes: [['k', 'v2']] },
  ])
  expect(() => recorder.end(second, { status: 'ok' })).toThrow('operation 2 has ended before')
  const file = join(directory, 'history.jsonl')
  await writeHistory(file, recorder.records)
  const again: HistoryRecord[] = []
  for await (const record of readHistory(file)) again.push(record)
  expect(again).toEqual(recorder.records)
  const bytes = [...Buffer.from(`${FINAL}\n${FINAL}`)].map(byte => Buffer.from([byte]))
  expect(await read(...bytes)).toEqual([JSON.parse(FINAL), JSON.parse(FINAL)])
})

test.each([
  ['{', /^stream:2: is not JSON .*expected one object on each line/],
  ['', /^stream:2: is not JSON/],
  ['[]', /^stream:2: expected a JSON object/],
  ['{"type":"read"}', /^stream:2: "type" is "read"; expected one of "op", "version", "final", "gauge"/],
  ['{"type":"op","id":1.5}', /"id" is 1\.5; expected a whole number from 0/],
  ['{"type":"op","id":1,"session":"a","start":0}', /"status" is missing; expected one of "ok", "failed", "unknown"/],
  [
    '{"type":"op","id":1,"session":"a","start":0,"status":"ok","reportLoss":true}',
    /has no field "reportLoss"; expected only type, id/,
  ],
  [
    '{"type":"op","id":1,"session":"a","start":0,"status":"ok","reads":[["k"]]}',
    /"reads" is .*; expected a list of \[key, value\]/,
  ],
  ['{"type":"op","id":1,"session":"a","start":0,"status":"ok","__proto__":1}', /has no field "__proto__"/],
])('%s is refused with its place and what was expected', async (line, expected) => {
  await expect(read(`${FINAL}\n${line}\n`)).rejects.toThrow(expected)
})

test('a line that does not end is refused before all of it has been read', async () => {
  let sent = 0
  const endless = Readable.from(
    (function* () {
      for (;;) {
        sent++
        yield 'x'.repeat(65_536)
      }
    })(),
  )
  const all = async () => {
    for await (const _ of readHistory(endless)) expect.unreachable()
  }
  await expect(all()).rejects.toThrow(`stream:1: a line has at most ${MAX_LINE_LENGTH} characters`)
  expect(sent * 65_536).toBeLessThan(3 * MAX_LINE_LENGTH)
  expect(endless.destroyed).toBe(true)
})

test('a file that is not there, and bytes that are not text', async () => {
  const all = async () => {
    for await (const _ of readHistory('/not/there.jsonl')) expect.unreachable()
  }
  await expect(all()).rejects.toMatchObject({ code: 'TIDEMARK_HISTORY', message: /^\/not\/there.jsonl: cannot be read/ })
  await expect(read(Buffer.from([0xff, 0x0a]))).rejects.toThrow(/^stream: cannot be read/)
})

const op = (id: number, other: object): HistoryRecord => ({
  type: 'op',
  id,
  session: 'a',
  start: 1,
  end: 2,
  status: 'ok',
  ...other,
})

test.each<[HistoryRecord[], RegExp]>([
  [[op(1, {}), op(1, {})], /^record 2: the id 1 is there twice/],
  [
    [op(1, { writes: [['k', 'v']] }), op(2, { writes: [['k', 'v']] })],
    /^record 2: the value "v" of "k" was written before, by operation 1/,
  ],
  [[op(1, { end: undefined })], /^record 1: operation 1 is "ok" and has no "end"/],
  [[op(1, { end: 0 })], /^record 1: operation 1 ends at 0, before its start/],
  [
    [op(1, { writes: [['k', 'v', null]] }), { type: 'version', key: 'k', value: 'v', prev: 'u' }],
    /^record 2: the version "v" of "k" replaced "u" here, but null elsewhere|but nothing elsewhere/,
  ],
  [
    [
      { type: 'version', key: 'k', value: 'a', prev: 'b' },
      { type: 'version', key: 'k', value: 'b', prev: 'a' },
    ],
    /^the history: the version "a" of "k" descends from itself/,
  ],
  [
    [
      { type: 'final', key: 'k', value: 'a' },
      { type: 'final', key: 'k', value: 'a' },
    ],
    /^record 2: "k" has two final values/,
  ],
])('a history that contradicts itself: %j', async (records, expected) => {
  await expect(checkHistory(records)).rejects.toThrow(expected)
})

test('bounds', async () => {
  const { rules } = await checkHistory([
    { type: 'gauge', name: 'parked', value: 2, bound: 2 },
    { type: 'gauge', name: 'parked', value: 3, bound: 2 },
  ])
  expect(rules['bounds-kept']).toEqual({ verdict: 'violated', checked: 2, violations: 1, undecided: 0 })
})
