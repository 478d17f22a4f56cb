/**
 * The page's script. It fetches the application's own pages and shows them side by side: the author's with the browser's
 * cookies, the follower's without any, as another person's browser would.
 *
 * A text, since what a browser runs is not compiled with the rest. The author's requests follow each other, as a
 * person's clicks do.
 */
export const APP_SCRIPT = `const POST_EVERY_MS = 1300
const LOOK_AGAIN_AFTER_MS = 1000
const FEED_EVERY_MS = 650
const TURN_MS = 8000
const MAX_BACK_OFF_MS = 4000
const CAPTIONS = ['Low tide', 'The lighthouse', 'Ripples in the sand', 'Seals', 'A red buoy', 'Driftwood', 'The ferry', 'Evening sail',
  'Oyster catchers', 'High water', 'Fishing nets', 'The old pier', 'Salt marsh', 'Spring tide', 'A crab', 'North wind']

const find = selector => document.querySelector(selector)
const profile = find('#profile')
const feed = find('#feed')
const autoPost = find('#auto-post')
const takeTurns = find('#take-turns')
const lag = find('[name=lagMs]')
const preset = find('[name=preset]')
const promote = find('#failover button')
let posted = 0

/** Shows the main part of one of the application's pages, and tells whether it was an answer. */
async function show(target, request) {
  try {
    const response = await request
    const page = new DOMParser().parseFromString(await response.text(), 'text/html')
    const panel = page.querySelector('[data-panel]')
    if (panel === null) throw new Error(page.body.textContent)
    // Without an answer, the photos that were there stay in view.
    const before = target.querySelector('.verdict')
    if (!response.ok && before !== null) before.replaceWith(...panel.childNodes)
    else target.replaceChildren(...panel.childNodes)
    return response.ok
  } catch (error) {
    target.textContent = 'The demo does not answer: ' + error.message
    return false
  }
}

let author = Promise.resolve(true)
function asAuthor(request) {
  author = author.then(() => show(profile, request()))
  return author
}
const post = caption => asAuthor(() => fetch('/photos', { method: 'POST', body: new URLSearchParams({ caption }) }))
const lookAgain = () => asAuthor(() => fetch('/me'))
const lookAtFeed = () => show(feed, fetch('/feed', { credentials: 'omit' }))
const change = settings => fetch('/settings', { method: 'POST', body: new URLSearchParams(settings) })

find('#post').addEventListener('submit', event => {
  event.preventDefault()
  const field = event.target.elements.caption
  post(field.value)
  field.value = ''
})
find('#policies').addEventListener('change', event => {
  takeTurns.checked = false
  change({ policy: event.target.value })
})
lag.addEventListener('input', () => showLag(lag.value))
lag.addEventListener('change', () => change({ lagMs: lag.value }))
find('#reset').addEventListener('click', () => change({ reset: '1' }))
preset.addEventListener('change', () => {
  takeTurns.checked = false
  change({ preset: preset.value, policy: 'tidemark' })
})
find('#failover').addEventListener('submit', event => {
  event.preventDefault()
  promote.disabled = true
  fetch('/promote', { method: 'POST' }).catch(() => {})
})
find('#controls').addEventListener('submit', event => event.preventDefault())

function showLag(ms) {
  for (const output of [find('#lag-text'), find('#lag-value')]) output.textContent = (ms / 1000).toFixed(1) + ' s'
}

function showState(state) {
  showLag(state.lagMs)
  if (document.activeElement !== lag) lag.value = state.lagMs
  if (document.activeElement !== preset) preset.value = state.preset
  const { about } = [...preset.options].find(option => option.value === state.preset).dataset
  find('[data-policy=tidemark] [data-value=about]').textContent = about
  find('[data-legend=session-cache]').hidden = state.preset !== 'write-through-cache'
  showFailover(state)
  for (const score of state.scores) showScore(find('[data-policy="' + score.name + '"]'), score, score.name === state.policy)
}

function showFailover({ nodes, primary, down, failover }) {
  const set = (element, text) => { if (element.textContent !== text) element.textContent = text }
  promote.disabled = failover.blocked !== null
  set(find('#blocked'), failover.blocked ?? '')
  const replicas = nodes.filter(node => node !== primary && !down.includes(node)).length
  set(find('#replicas'), (replicas === 0 ? 'no' : replicas) + (replicas < 2 ? ' replica' : ' replicas'))
  if (failover.story !== null) set(find('#story'), failover.story)
  for (const node of nodes) {
    const role = down.includes(node) ? ' (down)' : node === primary ? ' (the primary)' : ''
    set(find('[data-legend="' + node + '"] small'), role)
  }
}

function showScore(card, score, current) {
  const set = (name, text) => { card.querySelector('[data-value="' + name + '"]').textContent = text }
  card.querySelector('input').checked = current
  set('violations', score.violations)
  set('ownReads', score.ownReads)
  card.querySelector('.score').dataset.verdict = score.violations > 0 ? 'bad' : score.ownReads > 0 ? 'good' : 'none'
  set('failedRequests', score.failedRequests)
  set('lostWritesReported', score.lostWritesReported)
  for (const part of card.querySelectorAll('[data-node]')) part.style.flexGrow = score.readsByNode[part.dataset.node] ?? 0
  const onPrimary = Math.round(100 * score.primaryReads / score.reads)
  set('share', score.reads === 0 ? 'no reads yet' : score.reads + ' reads, ' + onPrimary + '% on the primary')
  set('p50', score.p50Ms === null ? '' : 'p50 ' + score.p50Ms.toFixed(1) + ' ms')
}

new EventSource('/events').addEventListener('message', event => showState(JSON.parse(event.data)))

/**
 * Calls again and again while the page is looked at, each time after the last call has ended. A call that says it
 * failed is followed by a longer pause, the more of them the longer, up to a bound.
 */
async function repeat(everyMs, action) {
  let failures = 0
  for (;;) {
    const pauseMs = failures === 0 ? everyMs : Math.max(everyMs, Math.min(125 * 2 ** failures, MAX_BACK_OFF_MS))
    await new Promise(resolve => setTimeout(resolve, pauseMs))
    if (document.hidden) continue
    failures = (await action()) === false ? failures + 1 : 0
  }
}

repeat(FEED_EVERY_MS, lookAtFeed)
repeat(POST_EVERY_MS - LOOK_AGAIN_AFTER_MS, async () => {
  if (!autoPost.checked) return
  posted++
  if (!(await post('#' + posted + ' ' + CAPTIONS[posted % CAPTIONS.length]))) return false
  await new Promise(resolve => setTimeout(resolve, LOOK_AGAIN_AFTER_MS))
  return lookAgain()
})
repeat(TURN_MS, async () => {
  if (!takeTurns.checked) return
  const choices = [...document.querySelectorAll('[name=policy]')]
  const next = choices[(choices.findIndex(choice => choice.checked) + 1) % choices.length]
  return change({ policy: next.value }).then(response => response.ok, () => false)
})
lookAgain()
lookAtFeed()
`
