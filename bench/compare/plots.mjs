// Plots of a result for docs/comparison.md: `npm run bench -- compare --json > result.json && node bench/compare/plots.mjs result.json`.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import * as Plot from '@observablehq/plot'
import { parseHTML } from 'linkedom'
import { CLIENTS, REPLICAS } from '../compare.mjs'
import { markdown } from './markdown.mjs'

const { document } = parseHTML('<html><body></body></html>')
const directory = fileURLToPath(new URL('../../docs/comparison/', import.meta.url))
const page = fileURLToPath(new URL('../../docs/comparison.md', import.meta.url))

/** Of the many, those that stand for a way of doing it each. */
const SHOWN = [
  'always the primary',
  'random replica',
  'session pinned 2 s',
  'process pinned 2 s',
  'LSN in a shared store',
  'Tidemark leader-reads',
  'Tidemark two-level',
]

const isBase = ({ clients, replicas }) => clients === CLIENTS && replicas === REPLICAS

/** What each option misses and what it asks of the primary, side by side. */
function bars(runs) {
  const own = runs.filter(run => isBase(run) && run.lagMs === 500 && run.mix === 'read-heavy')
  const data = own.flatMap(run => [
    {
      ...run,
      what: 'own writes missed per 1,000 reads',
      value: run.violationsPerMillion / 1_000,
      most: most(own, 'violationsPerMillion') / 1_000,
    },
    { ...run, what: 'reads served by the primary, %', value: run.primaryReadShare * 100, most: 100 },
  ])
  return draw({
    title: 'Own writes missed, and reads that the primary served: lag 500 ms, read-heavy',
    width: 820,
    height: 40 + own.length * 20,
    marginLeft: 190,
    marginRight: 50,
    fx: { label: null },
    x: { axis: null, domain: [0, 1] },
    y: { label: null, domain: own.map(run => run.option) },
    marks: [
      Plot.barX(data, { fx: 'what', x: share, y: 'option', fill: colour }),
      Plot.text(data, { fx: 'what', x: share, y: 'option', text: ({ value }) => value.toFixed(1), textAnchor: 'start', dx: 4 }),
      Plot.ruleX([0]),
    ],
  })
}

const most = (runs, key) => Math.max(...runs.map(run => run[key])) || 1
const share = ({ value, most }) => value / most

const colour = ({ option }) => (option.startsWith('Tidemark') ? '#0b6e8f' : '#b45309')

/** One line an option, over what grows. */
function lines(runs, { title, x, xLabel, y, yLabel, log }) {
  const data = runs.filter(run => SHOWN.includes(run.option)).sort((a, b) => a[x] - b[x])
  return draw({
    title,
    width: 820,
    height: 360,
    marginLeft: 60,
    marginRight: 170,
    x: { label: xLabel, type: 'log', base: 2, ticks: [...new Set(data.map(run => run[x]))], tickFormat: String },
    y: { label: yLabel, grid: true, nice: true, ...(log ? { type: 'log' } : { zero: true }) },
    color: { domain: SHOWN, scheme: 'Observable10' },
    marks: [
      Plot.line(data, { x, y, stroke: 'option', strokeWidth: 2, marker: 'circle' }),
      Plot.text(apart(data, x, y), { x, y: 'at', text: 'option', fill: 'option', textAnchor: 'start', dx: 8 }),
    ],
  })
}

/** The last points, with a place for the name of each: `at`, as near as names that do not overlap can be. */
function apart(data, x, y) {
  const last = Math.max(...data.map(run => run[x]))
  const gap = most(data, y) / 20
  let above = -gap
  return data
    .filter(run => run[x] === last)
    .sort((a, b) => a[y] - b[y])
    .map(run => {
      above = Math.max(run[y], above + gap)
      return { ...run, at: above }
    })
}

function draw(options) {
  const figure = Plot.plot({
    document,
    style: { background: 'white', color: '#14232b', fontSize: '12px' },
    ...options,
    title: undefined,
  })
  figure.setAttribute('xmlns', 'http://www.w3.org/2000/svg')
  figure.setAttribute('role', 'img')
  figure.setAttribute('aria-label', options.title)
  return figure.outerHTML
}

const [path] = process.argv.slice(2)
if (path === undefined) {
  console.error('usage: node bench/compare/plots.mjs RESULT.json')
  process.exit(2)
}
const result = JSON.parse(readFileSync(path, 'utf8'))
const { runs } = result
const at500 = runs.filter(run => run.lagMs === 500 && run.mix === 'read-heavy')
mkdirSync(directory, { recursive: true })
writeFileSync(`${directory}missed.svg`, bars(runs))
writeFileSync(
  `${directory}clients.svg`,
  lines(
    at500.filter(({ replicas }) => replicas === REPLICAS),
    {
      title: 'Requests per second by clients',
      x: 'clients',
      xLabel: 'clients →',
      y: 'throughput',
      yLabel: '↑ requests per second',
    },
  ),
)
writeFileSync(
  `${directory}replicas.svg`,
  lines(
    at500.filter(({ clients }) => clients === CLIENTS),
    {
      title: 'Reads served by the primary, by replicas',
      x: 'replicas',
      xLabel: 'replicas →',
      y: 'primaryReadShare',
      yLabel: '↑ share of reads',
    },
  ),
)
const [begin, end] = ['<!-- made by bench/compare/plots.mjs -->', '<!-- until here -->']
const text = readFileSync(page, 'utf8')
const [before, rest] = [text.slice(0, text.indexOf(begin) + begin.length), text.slice(text.indexOf(end))]
writeFileSync(page, `${before}\n\n${markdown(result)}\n\n${rest}`)
