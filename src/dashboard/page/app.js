// @ts-check
/**
 * The page: takes the state that the server sends each second and shows it. Everything that comes from the server is entered
 * as text, never as markup: a node may have any name.
 */

/** Loaded before, by a script of its own: uplot.js. */
const uPlot = /** @type {any} */ (globalThis).uPlot

const KEEP_POINTS = 600
/** A server that has said nothing for this long is gone, though the connection may not know yet. */
const SILENT_MS = 5_000

const $ = (/** @type {string} */ selector) => /** @type {HTMLElement} */ (document.querySelector(selector))

/** @param {string} tag @param {Record<string, string>} [attributes] @param {(Node | string)[]} children */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value)
  made.append(...children)
  return made
}

const whole = new Intl.NumberFormat('en')
const short = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 })
const ms = value => (value === null || value === undefined ? 'not known' : `${short.format(value)} ms`)
const share = value => (value === null ? '–' : `${short.format(value * 100)} %`)
const behind = bytes => (bytes == null ? 'behind by an amount not known' : `behind by ${whole.format(bytes)} bytes`)
const time = at => new Date(at).toLocaleTimeString()

/* ---- the nodes ---- */

function stateOf(node) {
  if (!node.usable) return 'down'
  return node.role === 'replica' && (node.behindBytes ?? 1) > 0 ? 'behind' : 'ok'
}

function nodeCard(node, primary) {
  const state = stateOf(node)
  const card = element('li', { class: 'node', 'data-state': state, 'data-role': node.role ?? 'unknown', 'data-node': node.node })
  card.append(element('h3', {}, node.node, ' ', element('span', { class: 'tag' }, tags(node))))
  if (node.role === 'primary') card.append(element('p', {}, `at ${node.applied ?? 'a position not known'}`))
  else {
    card.append(element('p', {}, node.stalenessMs == null ? 'staleness not known' : `staleness at most ${ms(node.stalenessMs)}`))
    card.append(element('p', {}, `${behind(node.behindBytes)}, at ${node.applied ?? 'a position not known'}`))
  }
  card.append(element('p', {}, `round trip ${ms(node.latencyMs)}, ${whole.format(node.inFlight)} in flight`))
  const problem = node.problem ?? historyProblem(node, primary)
  if (problem) card.append(element('p', { class: 'problem' }, problem))
  return card
}

/** A replica that has not followed a promotion looks healthy otherwise. */
function historyProblem(node, primary) {
  if (node.role !== 'replica' || node.timeline == null || primary?.timeline == null || node.timeline >= primary.timeline) return
  return `still in timeline ${node.timeline}, the primary is in ${primary.timeline}: it has not followed the promotion`
}

const tags = node => [node.role ?? 'role not known', node.region && `region ${node.region}`].filter(Boolean).join(', ')

function showTopology(nodes) {
  const list = $('#topology > ul')
  const inOrder = [...nodes].sort((a, b) => Number(b.role === 'primary') - Number(a.role === 'primary'))
  list.style.setProperty('--replicas', String(Math.max(1, nodes.length - 1)))
  const primary = nodes.find(node => node.role === 'primary' && node.usable)
  list.replaceChildren(...inOrder.map(node => nodeCard(node, primary)))
  drawLines()
}

/** From the primary's card to each replica's: sideways when they stand side by side, down when they stand in a column. */
function drawLines() {
  const svg = $('#topology svg')
  const origin = svg.getBoundingClientRect()
  const from = document.querySelector('.node[data-role="primary"]')?.getBoundingClientRect()
  const replicas = [...document.querySelectorAll('.node:not([data-role="primary"])')]
  const paths = from === undefined ? [] : replicas.map(card => line(card, from, origin))
  svg.replaceChildren(...paths)
}

function line(card, from, origin) {
  const to = card.getBoundingClientRect()
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path')
  path.dataset.state = card.dataset.state
  const sideways = to.left >= from.right
  const [x1, y1] = sideways ? [from.right, from.top + from.height / 2] : [from.left + 24, from.bottom]
  const [x2, y2] = sideways ? [to.left, to.top + to.height / 2] : [to.left + 24, to.top]
  const [a, b, c, d] = [x1 - origin.left, y1 - origin.top, x2 - origin.left, y2 - origin.top]
  const bend = sideways ? `C ${a + 50} ${b}, ${c - 50} ${d}, ${c} ${d}` : `L ${c} ${d}`
  path.setAttribute('d', `M ${a} ${b} ${bend}`)
  return path
}

/* ---- the charts ---- */

const COLOURS = ['#0b8fb8', '#d97706', '#16a34a', '#9333ea', '#dc2626', '#0d9488', '#ca8a04', '#db2777']
/** @type {any[]} */
let points = []
const charts = new Map()

const style = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim()

function showChart(id, labels, valueAt) {
  const figure = $(`#${id}`)
  const data = [points.map(point => point.at / 1_000), ...labels.map(label => points.map(point => valueAt(point, label)))]
  const made = charts.get(id)
  if (made !== undefined && made.labels.join('\n') === labels.join('\n')) {
    made.plot.setData(data)
    describe(figure, labels, valueAt)
    return
  }
  made?.plot.destroy()
  const plot = new uPlot(options(figure, labels), data, figure)
  charts.set(id, { plot, labels })
  describe(figure, labels, valueAt)
}

/** What the chart says now, for those who do not see it. */
function describe(figure, labels, valueAt) {
  const last = points[points.length - 1]
  const said = last && labels.map(label => `${label} ${ms(valueAt(last, label))}`).join(', ')
  figure.querySelector('figcaption').textContent = said ? `Now: ${said}` : 'Nothing yet'
}

function options(figure, labels) {
  const axis = { stroke: () => style('--soft'), grid: { stroke: () => style('--line'), width: 1 }, ticks: { show: false } }
  return {
    width: figure.clientWidth,
    height: 200,
    cursor: { y: false },
    // What the lines say now stands above them, for everybody.
    legend: { live: false },
    scales: { y: { range: (_, __, max) => [0, Math.max(1, max ?? 1) * 1.1] } },
    axes: [axis, { ...axis, size: 56 }],
    series: [
      {},
      ...labels.map((label, index) => ({
        label,
        stroke: COLOURS[index % COLOURS.length],
        width: 2,
        spanGaps: false,
        points: { show: false },
        value: (_, value) => ms(value),
      })),
    ],
  }
}

function showCharts(nodes) {
  const replicas = nodes.filter(node => node.role !== 'primary').map(node => node.node)
  showChart('staleness', replicas, (point, node) => (Object.hasOwn(point.staleness, node) ? point.staleness[node] : null))
  showChart('latency', ['p50', 'p99'], (point, label) => point[label])
}

function resize() {
  for (const [id, { plot }] of charts) plot.setSize({ width: $(`#${id}`).clientWidth, height: 200 })
  drawLines()
}

/* ---- numbers and lists ---- */

function showNumbers(state) {
  const { numbers } = state
  const shown = [
    ['reads', whole.format(numbers.reads)],
    ['fell back', share(numbers.fallbackShare), numbers.fallbackShare > 0.05 ? 'warn' : ''],
    ['refused', whole.format(numbers.refused), numbers.refused > 0 ? 'warn' : ''],
    ['violations', whole.format(numbers.violations), numbers.violations > 0 ? 'bad' : ''],
    ['canary reads', whole.format(numbers.canaryReads)],
    ['writes', whole.format(numbers.writes)],
    ['possibly lost', whole.format(numbers.possiblyLost), numbers.possiblyLost > 0 ? 'bad' : ''],
    ['failovers', whole.format(numbers.failovers), numbers.failovers > 0 ? 'warn' : ''],
    ['waiting now', whole.format(numbers.waiting)],
  ]
  $('#numbers').replaceChildren(
    ...shown.map(([name, value, mark = '']) =>
      element('div', { 'data-state': mark }, element('dt', {}, name), element('dd', {}, value)),
    ),
  )
}

function showRungs(rungs) {
  const total = rungs.reduce((sum, { reads }) => sum + reads, 0)
  $('#rungs tbody').replaceChildren(
    ...rungs.map(({ rung, reads, perSecond }) =>
      element(
        'tr',
        {},
        element('th', { scope: 'row' }, rung, element('meter', { min: '0', max: '1', value: String(total ? reads / total : 0) })),
        element('td', { class: 'n' }, whole.format(reads)),
        element('td', { class: 'n' }, share(total ? reads / total : null)),
        element('td', { class: 'n' }, short.format(perSecond)),
      ),
    ),
  )
}

function showBudgets(budgets) {
  const rate = value => element('td', { class: 'n' }, value === null ? '–' : `${short.format(value)}×`)
  $('#budgets tbody').replaceChildren(
    ...budgets.map(({ objective, burns, left }) =>
      element(
        'tr',
        {},
        element('th', { scope: 'row' }, objective),
        ...burns.map(rate),
        element('td', { class: 'n', 'data-state': left < 0 ? 'bad' : '' }, share(left)),
      ),
    ),
  )
  const unset = 'No objective is set: see errorBudget() in the documentation.'
  $('#budgets-note').textContent = budgets.length === 0 ? unset : '1× spends the budget exactly; more is too fast.'
}

function showEvents(id, events, text) {
  const items = events.map(event => element('li', {}, element('time', {}, time(event.at)), text(event)))
  $(id).replaceChildren(...(items.length > 0 ? items : [element('li', { class: 'none' }, 'none')]))
}

function showAlerts(alerts) {
  $('#alerts').hidden = alerts.length === 0
  $('#alerts ul').replaceChildren(
    ...alerts.map(({ severity, message }) =>
      element('li', { 'data-severity': severity }, element('strong', {}, `${severity}: `), message),
    ),
  )
}

function show(state) {
  $('#name').textContent = state.name
  document.title = `${state.alerts.length > 0 ? '⚠ ' : ''}Tidemark ${state.name}`
  points.push(state.point)
  if (points.length > KEEP_POINTS) points = points.slice(-KEEP_POINTS)
  showAlerts(state.alerts)
  showTopology(state.nodes)
  showNumbers(state)
  showCharts(state.nodes)
  showRungs(state.rungs)
  showBudgets(state.budgets)
  showEvents('#lost', state.lost, ({ position, verdict }) => `${position}, judged ${verdict}`)
  showEvents('#rejected', state.rejected, ({ reason }) => reason)
}

/* ---- the connection ---- */

let heardAt = 0

function connection(state, text) {
  const shown = $('#connection')
  if (shown.dataset.state === state) return
  shown.dataset.state = state
  shown.textContent = text
}

function connect() {
  const source = new EventSource('events')
  const heard = () => {
    heardAt = Date.now()
    connection('live', 'live')
  }
  source.addEventListener('history', event => {
    points = JSON.parse(event.data)
    heard()
  })
  source.addEventListener('state', event => {
    heard()
    show(JSON.parse(event.data))
  })
  source.onerror = () => {
    connection('lost', 'connection lost, trying again…')
    // The browser goes on by itself, except when the server answered with an error.
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 2_000)
  }
}

setInterval(() => {
  if (heardAt > 0 && Date.now() - heardAt > SILENT_MS) connection('lost', `nothing heard since ${time(heardAt)}`)
}, 1_000)

/* ---- the search ---- */

$('#explain').addEventListener('submit', async event => {
  event.preventDefault()
  const form = new FormData(/** @type {HTMLFormElement} */ (event.target))
  const asked = Object.fromEntries([...form].map(([name, value]) => [name, String(value).trim()]))
  const target = $('#explanation')
  try {
    const response = await fetch('explain', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(asked),
    })
    const answer = await response.json()
    if (!response.ok) throw new Error(answer.error)
    target.replaceChildren(
      element('p', { class: 'answer' }, answer.answer),
      element('p', {}, answer.needs),
      element('ol', {}, ...answer.steps.map(step => element('li', {}, element('strong', {}, `${step.rung}: `), step.says))),
    )
  } catch (error) {
    target.replaceChildren(element('p', { class: 'answer' }, `No answer: ${error instanceof Error ? error.message : error}`))
  }
})

addEventListener('resize', resize)
// Colours of the axes are read when they are drawn.
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  for (const { plot } of charts.values()) plot.redraw()
})
connect()
