import { Readable } from 'node:stream'
import fc from 'fast-check'
import { checkHistory } from '../../testing/history/check-history.js'
import { describeViolation } from '../../testing/history/describe-violation.js'
import { HistoryError } from '../../testing/history/history-error.js'
import { readHistory } from '../../testing/history/read-history.js'
import type { HistoryRecord } from '../../testing/history/record.js'
import type { HistoryReport } from '../../testing/history/report.js'
import { hostileText } from './hostile-text.js'
import { type Finding, Tally, type Target } from './target.js'

const key = fc.constantFrom('a', 'b', '__proto__')
const value = fc.oneof(
  { weight: 5, arbitrary: fc.nat({ max: 9 }).map(n => `v${n}`) },
  fc.constantFrom('', '__proto__', '\x1b[2J\u202e'),
)
const orNull = fc.option(value, { nil: null })
const guarantee = fc.constantFrom('eventual', 'read-your-writes', 'monotonic-reads')
const time = fc.oneof(fc.nat({ max: 50 }), fc.constantFrom(0.5, -1, 1e300))

/** Records that may be read, though together they need not make sense. */
const record = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record(
      {
        type: fc.constant('op'),
        id: fc.nat({ max: 200 }),
        session: fc.constantFrom('s', 't', '__proto__'),
        start: time,
        end: time,
        status: fc.constantFrom('ok', 'ok', 'ok', 'failed', 'unknown'),
        reads: fc.array(fc.tuple(key, orNull), { maxLength: 3 }),
        writes: fc.array(fc.oneof(fc.tuple(key, value), fc.tuple(key, value, orNull)), { maxLength: 2 }),
        asked: guarantee,
        achieved: guarantee,
        mayDegrade: fc.boolean(),
        reportsLoss: fc.boolean(),
        fromOwnCache: fc.boolean(),
        deadlineMs: fc.nat({ max: 20 }),
        path: value,
        error: value,
      },
      { requiredKeys: ['type', 'id', 'session', 'start', 'status'] },
    ),
  },
  fc.record({ type: fc.constant('version'), key, value, prev: orNull }),
  fc.record({ type: fc.constant('final'), key, value: orNull }),
  fc.record({ type: fc.constant('gauge'), name: value, value: time, bound: time }),
)

/** As those of a real history are: ids and times follow each other, no value is written twice, and each has been written. */
function inOrder(records: readonly object[]): object[] {
  const earlier = (value: unknown, i: number) => (typeof value === 'string' ? `v${value.length % (i || 1)}` : value)
  return records.flatMap((each, i): object | object[] => {
    if (!('id' in each)) return 'name' in each ? [each] : []
    const { reads, writes, ...rest } = each as {
      reads?: [string, string | null][]
      writes?: [string, string, (string | null)?][]
    }
    return {
      ...rest,
      id: i,
      start: i * 2,
      ...('end' in each || ('status' in each && each.status === 'ok') ? { end: i * 2 + 1 } : {}),
      ...(reads && { reads: reads.map(([key, value]) => [key, earlier(value, i)]) }),
      ...(writes && {
        writes: writes.slice(0, 1).map(([key, , prev]) => [key, `v${i}`, ...(prev === undefined ? [] : [earlier(prev, i)])]),
      }),
    }
  })
}

const records = fc.array(record, { maxLength: 25 })
const lines = fc.oneof({ weight: 6, arbitrary: records.map(inOrder) }, records).map(all => all.map(each => JSON.stringify(each)))

/** Something done to the lines of a history. */
const damage = fc.oneof(
  fc
    .tuple(
      fc.nat({ max: 30 }),
      fc.nat({ max: 2 }),
      fc.array(fc.oneof(hostileText, fc.json(), fc.constant('{"type":"op"}')), { maxLength: 2 }),
    )
    .map(
      ([at, take, give]) =>
        (all: string[]) =>
          void all.splice(at % (all.length + 1), take, ...give),
    ),
  // One field is something else.
  fc.tuple(fc.nat({ max: 30 }), fc.nat({ max: 15 }), fc.jsonValue()).map(([at, field, given]) => (all: string[]) => {
    const line = all[at % (all.length || 1)]
    const fields: unknown = line === undefined || !line.startsWith('{"type"') ? {} : JSON.parse(line)
    const names = Object.keys(fields as object)
    const name = names[field % (names.length || 1)] ?? 'type'
    if (line !== undefined) all[at % all.length] = JSON.stringify({ ...(fields as object), [name]: given })
  }),
)

const cases = fc
  .record({
    lines,
    damages: fc.oneof(fc.constant([]), fc.array(damage, { maxLength: 2 })),
    end: fc.oneof({ weight: 8, arbitrary: fc.constantFrom('\n', '\r\n') }, fc.constantFrom('\n\n', '\0', '\n ')),
    bytes: fc.oneof(
      { weight: 3, arbitrary: fc.constant([]) },
      fc.array(fc.tuple(fc.nat({ max: 5_000 }), fc.uint8Array({ maxLength: 3 })), { maxLength: 2 }),
    ),
    cutAt: fc.nat({ max: 5_000 }),
  })
  .map(({ lines, damages, end, bytes, cutAt }) => {
    const all = [...lines]
    for (const change of damages) change(all)
    let file = Buffer.from(all.map(line => line + end).join(''))
    for (const [at, inserted] of bytes) file = Buffer.concat([file.subarray(0, at), inserted, file.subarray(at)])
    return { file, cutAt }
  })

export interface HistoryTargetOptions {
  readonly check?: (records: AsyncIterable<HistoryRecord>) => Promise<HistoryReport>
}

/** Files that are nearly histories: a report, or a `HistoryError` that says what is wrong; and a report that can be printed. */
export function historyTarget({
  check = checkHistory,
}: HistoryTargetOptions = {}): Target<{ readonly file: Buffer; readonly cutAt: number }> {
  const seen = new Tally()
  return {
    name: 'histories',
    seen,
    cpuBoundMs: 1_000,
    deadlineMs: 10_000,
    cases,
    async check({ file, cutAt }) {
      let report: HistoryReport
      try {
        report = await check(readHistory(Readable.from([file.subarray(0, cutAt), file.subarray(cutAt)])))
      } catch (error) {
        if (!(error instanceof HistoryError)) throw error
        seen.count('refused')
        if (error.message.length < 20) return { kind: 'crash', message: `it says too little: ${error.message}` }
        return commands(error.message)
      }
      seen.count(report.ok ? 'reports: nothing wrong' : 'reports: violations')
      JSON.stringify(report)
      return commands(report.violations.flatMap(describeViolation).join('\n'))
    },
    async close() {},
  }
}

/** What is printed may be of anybody's making; a control character in it would command the terminal. */
function commands(printed: string): Finding | undefined {
  if (!/[^\P{C}\n]/u.test(printed)) return undefined
  return { kind: 'crash', message: `what is printed commands the terminal: ${JSON.stringify(printed)}` }
}
