import type { PresetName } from '../../core/presets.js'
import { SESSION_CACHE } from '../../core/router.js'
import type { DemoState } from './demo-server.js'
import { type Html, html } from './html.js'
import { photoPicture } from './photo-picture.js'
import { ABOUT_PRESET, PRESET_NAMES } from './presets.js'
import type { PolicyName } from './scoreboard.js'
import { MAX_CAPTION_LENGTH } from './visitor.js'

export interface Photo {
  readonly caption: string
}

/** What one read got, as far as a page shows it. */
export interface Shown {
  readonly photos: readonly Photo[]
  /** The reader's own newest photo, which is not there. */
  readonly missing: Photo | undefined
  /** The reader was told that the missing photo may be lost. */
  readonly lost: boolean
  /** Whether the reader has posted under the present policy. */
  readonly hasPosted: boolean
  readonly node: string
  /** Whether that node is the primary. */
  readonly onPrimary: boolean
  readonly elapsedMs: number
}

const ABOUT: Readonly<Record<PolicyName, { readonly title: string; readonly text: string }>> = {
  'any replica': { title: 'Any replica', text: 'Reads go to whichever replica. Authors miss what they have just posted.' },
  primary: { title: 'Primary', text: 'All reads go to the primary. Nothing is missed, and the replicas carry nothing.' },
  tidemark: { title: 'Tidemark', text: '' },
}

/** The page with both sides. Its panels are filled by the application's own pages, see the script. */
export function demoPage({ policy, lagMs, preset, nodes, primary, down, failover, scores }: DemoState): Html {
  return page(
    'Tidemark demo',
    html`
<header class="top">
  <h1>Tidemark</h1>
  <p>One primary and <output id="replicas">${replicas(nodes.filter(node => node !== primary && !down.includes(node)).length)}</output>:
  every write <strong>shows <output id="lag-text">${seconds(lagMs)}</output> late on a replica</strong>. Who sees what depends on where reads go.</p>
</header>
<form id="controls" class="controls">
  <label class="lag">Replicas lag by <input type="range" name="lagMs" min="0" max="${Math.max(3_000, lagMs)}" step="100" value="${lagMs}">
    <output id="lag-value">${seconds(lagMs)}</output></label>
  <label><input type="checkbox" id="auto-post" checked> Auto-post</label>
  <label><input type="checkbox" id="take-turns" checked> Policies take turns</label>
  <label>Tidemark’s preset <select name="preset" autocomplete="off">${PRESET_NAMES.map(
    name => html`<option data-about="${ABOUT_PRESET[name]}"${name === preset ? html` selected` : ''}>${name}</option>`,
  )}</select></label>
  <button type="button" id="reset">Start over</button>
</form>
<form id="failover" class="failover" method="post" action="/promote">
  <button aria-describedby="blocked"${failover.blocked === null ? '' : html` disabled`}>Promote a replica</button>
  <p><output id="story">${failover.story ?? STORY_TO_COME}</output> <output id="blocked">${failover.blocked ?? ''}</output></p>
</form>
<fieldset class="policies" id="policies"><legend>Where reads go</legend>
  ${scores.map(({ name }) => policyCard(name, name === policy, nodes, preset))}
</fieldset>
<p class="legend">Reads by node: ${nodes.map((node, index) => html`<span data-legend="${node}"><i class="node-${index}"></i>${node}<small>${roleOf(node, { primary, down })}</small></span> `)}
  <span data-legend="${SESSION_CACHE}"${preset === 'write-through-cache' ? '' : html` hidden`}><i class="node-cache"></i>memory</span></p>
<div class="panels">
  <section class="panel">
    <h2>The author <small>posts, and looks at their own profile at once</small></h2>
    <form id="post" class="post" method="post" action="/photos">
      <input name="caption" aria-label="Caption" placeholder="What is in your photo?" maxlength="${MAX_CAPTION_LENGTH}" required autocomplete="off">
      <button>Post</button>
    </form>
    <div id="profile"></div>
  </section>
  <section class="panel">
    <h2>A follower <small>has posted nothing, and looks at the feed</small></h2>
    <div id="feed"></div>
  </section>
</div>
<noscript><p>Without scripts the two sides are two pages: <a href="/me">the author’s</a> and <a href="/feed">the feed</a>.</p></noscript>
<script src="/app.js" type="module"></script>`,
  )
}

function policyCard(name: PolicyName, checked: boolean, nodes: readonly string[], preset: PresetName): Html {
  const { title, text } = ABOUT[name]
  return html`<label class="policy" data-policy="${name}">
  <span class="name"><input type="radio" name="policy" value="${name}"${checked ? html` checked` : ''}> ${title}</span>
  <span class="about" data-value="about">${name === 'tidemark' ? ABOUT_PRESET[preset] : text}</span>
  <span class="score" data-verdict="none"><b data-value="violations">0</b>
    <span>of <span data-value="ownReads">0</span> reads missed the author’s own photo</span></span>
  <span class="bar" aria-hidden="true">${nodes.map((node, index) => html`<i class="node-${index}" data-node="${node}"></i>`)}<i class="node-cache" data-node="${SESSION_CACHE}"></i></span>
  <span class="facts"><span data-value="share">no reads yet</span><span data-value="p50"></span></span>
  <span class="facts"><span><span data-value="failedRequests">0</span> failed requests</span>
    <span><span data-value="lostWritesReported">0</span> lost writes reported</span></span>
</label>`
}

const STORY_TO_COME = 'This kills the primary and makes a replica the new one, while all goes on.'

/** What the name of a node does not say of it. */
function roleOf(node: string, { primary, down }: Pick<DemoState, 'primary' | 'down'>): string {
  if (down.includes(node)) return ' (down)'
  return node === primary ? ' (the primary)' : ''
}

/** The author's own profile. */
export function profilePage(shown: Shown): Html {
  return page(
    'Your profile',
    html`<main data-panel>${profileVerdict(shown)}${tiles(shown)}</main>
<form class="post" method="post" action="/photos"><input name="caption" aria-label="Caption" maxlength="${MAX_CAPTION_LENGTH}" required><button>Post</button></form>`,
  )
}

export function feedPage(shown: Shown): Html {
  const verdict =
    shown.missing === undefined ? html`<p class="verdict">The feed, as ${servedBy(shown)}</p>` : profileVerdict(shown)
  return page('Feed', html`<main data-panel>${verdict}${tiles(shown)}</main>`)
}

function profileVerdict(shown: Shown): Html {
  if (shown.lost) {
    return html`<p class="verdict lost" role="status"><strong>Your photo was lost in the failover</strong>, and Tidemark reported it.</p>`
  }
  if (shown.missing !== undefined) {
    return html`<p class="verdict bad" role="status"><strong>Your photo is missing!</strong> ${shown.node} has not applied it yet.</p>`
  }
  if (!shown.hasPosted) return html`<p class="verdict">Your profile, as ${servedBy(shown)}</p>`
  return html`<p class="verdict good" role="status"><strong>Your photo is here</strong>, ${servedBy(shown)}</p>`
}

/** Instead of an answer, when there can be none. */
export function failurePage(what: string, reason: string): Html {
  return page(
    'Not now',
    html`<main data-panel><p class="verdict bad" role="status"><strong>${what}:</strong> ${reason}.</p></main>`,
  )
}

function servedBy({ node, onPrimary, elapsedMs }: Shown): Html {
  if (node === SESSION_CACHE) return html`served from <b>memory</b> in ${elapsedMs.toFixed(1)} ms.`
  const role = onPrimary && node !== 'primary' ? ', the primary,' : ''
  return html`served by <b>${node}</b>${role} in ${elapsedMs.toFixed(1)} ms.`
}

function tiles({ photos, missing, lost }: Shown): Html {
  return html`<ul class="tiles">${missing === undefined ? [] : [missingTile(missing, lost)]}${photos.map(
    ({ caption }) => html`<li>${photoPicture(caption)}<span>${caption}</span></li>`,
  )}</ul>`
}

function missingTile({ caption }: Photo, lost: boolean): Html {
  return html`<li class="missing"><em>${lost ? 'lost, and reported' : 'your photo is missing!'}</em><span>${caption}</span></li>`
}

function page(title: string, body: Html): Html {
  return html`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<link rel="stylesheet" href="/style.css">
<body>${body}</body>
</html>
`
}

/** As the script says it. */
function replicas(count: number): string {
  return `${count === 0 ? 'no' : count} ${count < 2 ? 'replica' : 'replicas'}`
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`
}
