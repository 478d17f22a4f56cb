// How long `checkHistory` takes for a million operations, and what it holds in memory. `npm run --silent build && node bench/checker.mjs`.
import { checkHistory } from '../dist/testing/index.js'

const OPERATIONS = Number(process.argv[2] ?? 1_000_000)
const SESSIONS = 2_000

/** Sessions that read and write keys of a store with lagging replicas and, now and then, a failover; from a fixed seed. */
function* history(keys) {
  let seed = 42
  const random = below => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((seed / 2 ** 32) * below)
  }
  const lines = Array.from({ length: keys }, () => [null])
  for (let id = 1; id <= OPERATIONS; id++) {
    const key = random(keys)
    const line = lines[key]
    const operation = {
      type: 'op',
      id,
      session: `session ${random(SESSIONS)}`,
      start: id,
      end: id + random(20),
      status: 'ok',
      path: 'replica',
    }
    if (random(10) < 3) {
      if (random(1_000) === 0) line.splice(Math.max(1, line.length - 3))
      yield { ...operation, writes: [[`key ${key}`, `value ${id}`, line.at(-1)]] }
      line.push(`value ${id}`)
    } else {
      const other = (key + 1) % keys
      yield {
        ...operation,
        reads: [
          [`key ${key}`, line.at(-1)],
          [`key ${other}`, lines[other].at(-1)],
        ],
      }
    }
  }
  for (const [key, line] of lines.entries()) yield { type: 'final', key: `key ${key}`, value: line.at(-1) }
}

for (const keys of process.argv[3] ? [Number(process.argv[3])] : [1, 100, 50_000]) {
  globalThis.gc?.()
  const before = process.memoryUsage().heapUsed
  const records = [...history(keys)]
  const held = process.memoryUsage().heapUsed - before
  const start = performance.now()
  const cpu = process.cpuUsage()
  const report = await checkHistory(records)
  const seconds = (performance.now() - start) / 1_000
  const { user, system } = process.cpuUsage(cpu)
  const more = process.memoryUsage().heapUsed - before - held
  console.log(
    `${OPERATIONS} operations on ${keys} keys: ${seconds.toFixed(1)} s (${((user + system) / 1e6).toFixed(1)} s of CPU); ` +
      `records ${Math.round(held / 1e6)} MB, checker ${Math.round(more / 1e6)} MB; ${report.violationCount} violations`,
  )
}
