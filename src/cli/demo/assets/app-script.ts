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
const CAPTIONS = ['Low tide', 'The lighthouse', 'Ripples in the sand', 'Seals', 'A red buoy', 'Driftwood', 'The ferry', 'Evening sail',
  'Oyster catchers', 'High water', 'Fishing nets', 'The old pier', 'Salt marsh', 'Spring tide', 'A crab', 'North wind']

const find = selector => document.querySelector(selector)
const profile = find('#profile')
const feed = find('#feed')
const autoPost = find('#auto-post')
const takeTurns = find('#take-turns')
const lag = find('[name=lagMs]')
let posted = 0

/** Shows the main part of one of the application's pages. */
async function show(target, request) {
  try {
    const response = await request
    if (!response.ok) throw new Error(await response.text())
    const page = new DOMParser().parseFromString(await response.text(), 'text/html')
    target.replaceChildren(...page.querySelector('[data-panel]').childNodes)
  } catch (error) {
    target.textContent = 'The demo does not answer: ' + error.message
  }
}

let author = Promise.resolve()
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
find('#controls').addEventListener('submit', event => event.preventDefault())

function showLag(ms) {
  for (const output of [find('#lag-text'), find('#lag-value')]) output.textContent = (ms / 1000).toFixed(1) + ' s'
}

function showState(state) {
  showLag(state.lagMs)
  if (document.activeElement !== lag) lag.value = state.lagMs
  for (const score of state.scores) showScore(find('[data-policy="' + score.name + '"]'), score, score.name === state.policy, state.nodes)
}

function showScore(card, score, current, nodes) {
  const set = (name, text) => { card.querySelector('[data-value="' + name + '"]').textContent = text }
  card.querySelector('input').checked = current
  set('violations', score.violations)
  set('ownReads', score.ownReads)
  card.querySelector('.score').dataset.verdict = score.violations > 0 ? 'bad' : score.ownReads > 0 ? 'good' : 'none'
  for (const node of nodes) card.querySelector('[data-node="' + node + '"]').style.flexGrow = score.readsByNode[node]
  const [primary] = nodes
  const onPrimary = Math.round(100 * score.readsByNode[primary] / score.reads)
  set('share', score.reads === 0 ? 'no reads yet' : score.reads + ' reads, ' + onPrimary + '% on the primary')
  set('p50', score.p50Ms === null ? '' : 'p50 ' + score.p50Ms.toFixed(1) + ' ms')
}

new EventSource('/events').addEventListener('message', event => showState(JSON.parse(event.data)))

/** Calls again and again while the page is looked at, each time after the last call has ended. */
async function repeat(everyMs, action) {
  for (;;) {
    await new Promise(resolve => setTimeout(resolve, everyMs))
    if (!document.hidden) await action()
  }
}

repeat(FEED_EVERY_MS, lookAtFeed)
repeat(POST_EVERY_MS - LOOK_AGAIN_AFTER_MS, async () => {
  if (!autoPost.checked) return
  posted++
  await post('#' + posted + ' ' + CAPTIONS[posted % CAPTIONS.length])
  await new Promise(resolve => setTimeout(resolve, LOOK_AGAIN_AFTER_MS))
  await lookAgain()
})
repeat(TURN_MS, async () => {
  if (!takeTurns.checked) return
  const choices = [...document.querySelectorAll('[name=policy]')]
  const next = choices[(choices.findIndex(choice => choice.checked) + 1) % choices.length]
  await change({ policy: next.value })
})
lookAgain()
lookAtFeed()
`
