// One command a benchmark: `npm run bench -- (overhead|presets|compare) [--json] [--quick]`.
import { parseArgs } from 'node:util'

const BENCHMARKS = {
  overhead: () => import('./overhead.mjs'),
  presets: () => import('./presets.mjs'),
  compare: () => import('./compare.mjs'),
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'boolean', default: false }, quick: { type: 'boolean', default: false } },
})
const load = BENCHMARKS[positionals[0]]
if (load === undefined) {
  console.error(`usage: npm run bench -- (${Object.keys(BENCHMARKS).join('|')}) [--json] [--quick]`)
  process.exit(2)
}
const { run } = await load()
const progress = text => process.stderr.isTTY && process.stderr.write(`\r\x1b[K${text}`)
const { result, table } = await run({ quick: values.quick, progress })
progress('')
console.log(values.json ? JSON.stringify(result) : table)
