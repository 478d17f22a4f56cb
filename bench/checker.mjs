// How long `checkHistory` takes, and what it holds in memory. `npm run --silent build && node bench/checker.mjs [operations [keys]]`.
import { checkHistory } from '../dist/testing/index.js'

const SESSIONS = 2_000

/**
 * Sessions that write, read, and read snapshots of two or three keys, up to twenty at a time, in a store that keeps what it
 * promises; from a fixed seed.
 */
function* history(operations, keys) {
  let seed = 42
  const random = below => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((seed / 2 ** 32) * below)
  }
  const holds = Array.from({ length: keys }, () => null)
  for (let id = 1; id <= operations; id++) {
    const key = random(keys)
    const operation = {
      type: 'op',
      id,
      session: `session ${random(SESSIONS)}`,
      start: id,
      end: id + random(20),
      status: 'ok',
      path: 'replica',
    }
    if (random(10) < 2) {
      yield { ...operation, writes: [[`key ${key}`, `value ${id}`, holds[key]]] }
      holds[key] = `value ${id}`
    } else {
      const count = random(12) < 7 ? 1 : 2 + random(2)
      const read = Array.from({ length: count }, (_, i) => (key + i * 7) % keys)
      yield { ...operation, reads: read.map(each => [`key ${each}`, holds[each]]) }
    }
  }
  for (const [key, value] of holds.entries()) yield { type: 'final', key: `key ${key}`, value }
}

/** As from a file: no two records share a string. */
const asRead = record => JSON.parse(JSON.stringify(record))

async function cpuMs(work) {
  const before = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1_000
}

async function large(operations, keys) {
  globalThis.gc?.()
  const empty = process.memoryUsage().heapUsed
  const records = [...history(operations, keys)].map(asRead)
  const held = process.memoryUsage().heapUsed - empty
  let report
  const ms = await cpuMs(async () => {
    report = await checkHistory(records)
  })
  const more = process.memoryUsage().heapUsed - empty - held
  console.log(
    `${operations} operations on ${keys} keys: ${(ms / 1_000).toFixed(2)} s of CPU; ` +
      `records ${Math.round(held / 1e6)} MB, checker up to ${Math.round(more / 1e6)} MB; ${report.violationCount} violations`,
  )
}

async function small(operations, keys, times) {
  const records = [...history(operations, keys)].map(asRead)
  const run = async () => {
    for (let i = 0; i < times; i++) await checkHistory(records)
  }
  await run()
  console.log(`${operations} operations on ${keys} keys: ${((await cpuMs(run)) / times).toFixed(2)} ms of CPU a call`)
}

const [operations, keys] = process.argv.slice(2).map(Number)
await small(500, 10, 200)
for (const some of operations ? [operations] : [10_000, 100_000, 1_000_000]) {
  for (const of of keys ? [keys] : [100, 50_000]) await large(some, of)
}
