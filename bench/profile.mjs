// Where the CPU time of one path goes: `npm run --silent build && node bench/profile.mjs (fencedRead|write|…) [in flight] [raw]`.
// Prints the functions by the time spent in themselves, in CPU microseconds per operation.
import { Session } from 'node:inspector/promises'
import { pathsOf, withBench } from './cases.mjs'
import { httpPaths } from './http-exchange.mjs'
import { measured } from './measure.mjs'

const [name, inFlight = '1', which = 'tidemark'] = process.argv.slice(2)
const WARM_UP_MS = 3_000
const FOR_MS = 10_000
const ROWS_SHOWN = 40

await withBench(async bench => {
  const http = await httpPaths(bench.db)
  const paths = { ...(await pathsOf(bench)), ...http.paths }
  const path = paths[name]
  if (path === undefined) throw new Error(`the paths are ${Object.keys(paths).join(', ')}`)
  const work = path[which === 'raw' ? 0 : 1]
  await measured(work, Number(inFlight), WARM_UP_MS)

  const inspector = new Session()
  inspector.connect()
  await inspector.post('Profiler.enable')
  await inspector.post('Profiler.setSamplingInterval', { interval: 200 })
  await inspector.post('Profiler.start')
  const { cpuUs } = await measured(work, Number(inFlight), FOR_MS)
  const { profile } = await inspector.post('Profiler.stop')
  http.close()

  console.log(`${name}, ${which}, ${inFlight} in flight: ${cpuUs.toFixed(1)} µs of CPU each, all threads`)
  for (const [frame, share] of selfTimes(profile).slice(0, ROWS_SHOWN)) {
    console.log(`${(share * cpuUs).toFixed(2).padStart(7)} ${(share * 100).toFixed(1).padStart(5)} %  ${frame}`)
  }
})

/** `[frame, share]` of the samples in which something ran, the greatest first. */
function selfTimes({ nodes, samples, timeDeltas }) {
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]))
  const spent = new Map()
  let total = 0
  for (const [i, node] of samples.entries()) {
    const frame = frames.get(node)
    if (frame === '(idle)') continue
    spent.set(frame, (spent.get(frame) ?? 0) + timeDeltas[i])
    total += timeDeltas[i]
  }
  return [...spent].map(([frame, time]) => [frame, time / total]).sort(([, a], [, b]) => b - a)
}

function nameOf({ functionName, url, lineNumber }) {
  const file = url.replace(/^.*\/(?=(dist|node_modules|bench)\/)/, '')
  return `${functionName || '(anonymous)'}${file === '' ? '' : `  ${file}:${lineNumber + 1}`}`
}
