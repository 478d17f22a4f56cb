// One command a benchmark.
import { parseArgs } from 'node:util'

const BENCHMARKS = {
  overhead: () => import('./overhead.mjs'),
  presets: () => import('./presets.mjs'),
  compare: () => import('./compare.mjs'),
}

const HELP = `Measures Tidemark on a cluster of its own, against what it is to be compared with, in one interleaved run.

Usage: npm run bench -- <benchmark> [options]

Benchmarks:
  overhead  What it costs over the raw driver (minutes)
  presets   The six presets side by side (three minutes)
  compare   The same HTTP application on each of the usual ways to read from replicas (half an hour)

Options:
      --quick      The same shape in less time: for trying out, not for quoting (compare: three minutes)
      --slot-ms N  compare only: measure each option for so long at a time, instead of 2500 ms (350 with --quick)
      --json       Print one JSON object
  -h, --help       Show this

bench/README.md says what each number is. Exit codes: 0 measured, 1 failed, 2 the command line was not understood.`

function refuse(message) {
  console.error(`bench: ${message}\nRun 'npm run bench -- --help' to see what it takes.`)
  process.exit(2)
}

function parsed() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        json: { type: 'boolean', default: false },
        quick: { type: 'boolean', default: false },
        'slot-ms': { type: 'string' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    })
  } catch (error) {
    // Its second sentence is about positional arguments that begin with a dash.
    return refuse(error.message.split('. ')[0])
  }
}

const {
  positionals: [name, ...rest],
  values,
} = parsed()
if (values.help) {
  console.log(HELP)
  process.exit(0)
}
if (!Object.hasOwn(BENCHMARKS, name ?? '') || rest.length > 0) {
  refuse(`expected one of ${Object.keys(BENCHMARKS).join(', ')}, not '${[name, ...rest].join(' ')}'`)
}
const slotMs = values['slot-ms'] === undefined ? undefined : Number(values['slot-ms'])
if (slotMs !== undefined && (name !== 'compare' || !Number.isInteger(slotMs) || slotMs < 100 || slotMs > 60_000)) {
  refuse(`--slot-ms is for compare, and a whole number from 100 to 60000, not '${values['slot-ms']}'`)
}
const { run } = await BENCHMARKS[name]()
const progress = text => process.stderr.isTTY && process.stderr.write(`\r\x1b[K${text}`)
const { result, table } = await run({ quick: values.quick, slotMs, progress })
progress('')
console.log(values.json ? JSON.stringify(result) : table)
