/**
 * The demo without a person: authors that post and look at once, followers that look at the feed meanwhile, under each
 * policy in turn, over HTTP.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { PresetName } from '../../core/presets.js'
import { Browser, UnavailableError } from './browser.js'
import type { DemoServer } from './demo-server.js'
import { DEFAULT_PRESET } from './presets.js'
import { POLICY_NAMES, type PolicyName, type Score } from './scoreboard.js'

export interface ScenarioOptions {
  /** How often each author posts. */
  readonly rounds: number
  readonly signal: AbortSignal
  readonly onProgress: (policy: PolicyName, round: number) => void
}

/** At once, on the same cluster. */
const AUTHORS = 8
const FOLLOWERS = 2
const FOLLOWER_PAUSE_MS = 10
/** An author looks at their profile and the feed this often once the replicas have had time to catch up. */
const LATER_LOOKS = 4
/** A round waits no longer than this for them. */
const MAX_PAUSE_MS = 500
/** No policy takes longer, however few rounds fit. */
const POLICY_MS = 9_000
const MAX_BACK_OFF_MS = 1_000

/** Runs the scenario under each policy. Rejects with the signal's reason when it aborts. */
export async function runScenario(server: DemoServer, options: ScenarioOptions): Promise<void> {
  for (const policy of POLICY_NAMES) {
    server.usePolicy(policy)
    await runPolicy(server.url, policy, server.state.lagMs, options)
  }
}

async function runPolicy(url: string, policy: PolicyName, lagMs: number, { rounds, signal, onProgress }: ScenarioOptions) {
  const deadline = performance.now() + POLICY_MS
  let ended = false
  const persist = (request: () => Promise<string>) => persistently(request, deadline, signal)
  const author = async (index: number) => {
    const browser = new Browser(url, signal)
    for (let round = 1; round <= rounds && performance.now() < deadline; round++) {
      await persist(() => browser.post('/photos', { caption: `Photo ${round} of author ${index}` }))
      await persist(() => browser.get('/feed'))
      await persist(() => browser.get('/me'))
      await sleep(Math.min(lagMs * 1.5, MAX_PAUSE_MS), undefined, { signal })
      for (let look = 0; look < LATER_LOOKS; look++) {
        await persist(() => browser.get('/me'))
        await persist(() => browser.get('/feed'))
      }
      if (index === 0) onProgress(policy, round)
    }
  }
  const follower = async () => {
    const browser = new Browser(url, signal)
    while (!ended) {
      await persist(() => browser.get('/feed'))
      await sleep(FOLLOWER_PAUSE_MS, undefined, { signal })
    }
  }
  const authors = Promise.all(Array.from({ length: AUTHORS }, (_, index) => author(index))).finally(() => {
    ended = true
  })
  await Promise.all([authors, ...Array.from({ length: FOLLOWERS }, follower)])
}

/** Goes on as a person would while the cluster cannot answer: the failure is counted, and after a pause comes another try. */
async function persistently(request: () => Promise<string>, deadline: number, signal: AbortSignal): Promise<void> {
  for (let pauseMs = 50; ; pauseMs = Math.min(2 * pauseMs, MAX_BACK_OFF_MS)) {
    try {
      await request()
      return
    } catch (error) {
      if (!(error instanceof UnavailableError)) throw error
      if (performance.now() >= deadline) return
    }
    await sleep(pauseMs, undefined, { signal })
  }
}

export interface Verdict {
  readonly kind: 'proved' | 'failed' | 'inconclusive'
  readonly text: string
}

/** What the scores prove. */
export function judge(scores: readonly Score[], primary: string, preset: PresetName = DEFAULT_PRESET): Verdict {
  const [anyReplica, , tidemark] = scores as [Score, Score, Score]
  if (tidemark.violations > 0) {
    return {
      kind: 'failed',
      text: `Tidemark: ${tidemark.violations} reads missed the author’s own write. That must never happen.`,
    }
  }
  // A quorum reads from the freshest that it has asked, whoever that is.
  for (const { name, followerReadsByNode } of preset === 'quorum' ? [anyReplica] : [anyReplica, tidemark]) {
    const onPrimary = followerReadsByNode[primary] ?? 0
    if (onPrimary > 0) {
      const text = `${name}: the primary served ${onPrimary} reads of followers, who have written nothing. Replicas should carry all of them; was one not usable?`
      return { kind: 'failed', text }
    }
  }
  if (tidemark.ownReads === 0 || anyReplica.violations === 0) {
    const text = `Nothing is proved: with any replica ${anyReplica.violations} of ${anyReplica.ownReads} reads missed the author’s own write, so there was nothing to prevent. Try a larger --lag.`
    return { kind: 'inconclusive', text }
  }
  const text = `With any replica ${anyReplica.violations} of ${anyReplica.ownReads} own reads missed the author’s write; with Tidemark none of ${tidemark.ownReads}, and replicas served ${percentage(tidemark, primary)} of all reads.`
  return { kind: 'proved', text }
}

function percentage({ reads, readsByNode }: Score, primary: string): string {
  return `${Math.round((100 * (reads - (readsByNode[primary] ?? 0))) / reads)} %`
}
