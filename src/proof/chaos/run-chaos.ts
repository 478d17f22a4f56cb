/** One run: a cluster, routers, users, and faults until the time is up; then the history is judged. */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Cluster, startCluster } from '../../testing/index.js'
import { Random } from '../random.js'
import type { Flaw } from './application.js'
import { FAULTS } from './faults.js'
import { HttpClient } from './http-client.js'
import { KEYS, Load } from './load.js'
import { versionsOn } from './promotion.js'
import { SCHEMA } from './protocol.js'
import { type Router, startRouters, stopRouters, untilRouters } from './routers.js'
import type { CountedFault, Scene } from './scene.js'
import { FAULT_KINDS, type FaultKind, type PlannedFault, type Round, schedule } from './schedule.js'
import { Trace } from './trace.js'

export interface ChaosOptions {
  /** Faults begin within this time, in milliseconds; the last round ends later. Or a number of rounds, however long they take. */
  readonly length: { readonly ms: number } | { readonly rounds: number }
  readonly seed: number
  /** Default: all kinds. */
  readonly faults?: readonly FaultKind[]
  readonly flaw?: Flaw | undefined
  readonly signal?: AbortSignal | undefined
  onProgress?(progress: Progress): void
}

export interface Progress {
  readonly elapsedMs: number
  readonly operations: number
  readonly doing: string
}

export interface ChaosRun {
  readonly faults: Readonly<Record<string, number>>
  readonly trace: Trace
}

const WHOLE_TIMEOUT_MS = 60_000
const QUIET_MS = 1_000

/** Rejects when the cluster does not become whole again after a round, or a part of the run does not work. Nothing is left running. */
export async function runChaos(options: ChaosOptions): Promise<ChaosRun> {
  const { seed, signal, flaw, faults: kinds = FAULT_KINDS } = options
  // A transaction whose client cannot be reached must not hold its rows for ever.
  const settings = { idle_in_transaction_session_timeout: '5s', tcp_user_timeout: '5s' }
  const cluster = await startCluster({ replicas: 2, links: true, settings, signal })
  const client = new HttpClient()
  let routers: readonly Router[] = []
  try {
    await cluster.query('primary', SCHEMA)
    await cluster.query('primary', 'INSERT INTO item (key) SELECT unnest($1::text[])', [KEYS])
    await cluster.caughtUp()
    const nodes = cluster.nodes.map(name => ({ name, url: cluster.url(name) }))
    routers = await startRouters({ nodes, secret: randomBytes(32).toString('base64url'), flaw }, client)
    const trace = new Trace()
    const counted = new Map<CountedFault, number>(kinds.map(kind => [kind, 0]))
    const scene: Scene = {
      cluster,
      routers,
      injected: kind => counted.set(kind, (counted.get(kind) ?? 0) + 1),
      witnessed: versions => trace.witnessed(versions),
    }
    const origins = routers.map(({ origin }) => origin)
    const load = new Load(origins, client.fetch, new Random(seed), trace)
    load.start()
    try {
      await playRounds(scene, schedule(seed, kinds), trace, options)
    } finally {
      await load.stop()
    }
    await load.lookOnceMore()
    await collectEnd(cluster, trace)
    return { faults: Object.fromEntries(counted), trace }
  } finally {
    client.close()
    await stopRouters(routers)
    await cluster.close()
  }
}

async function playRounds(scene: Scene, rounds: Iterator<Round, never>, trace: Trace, options: ChaosOptions): Promise<void> {
  const { length, signal, onProgress } = options
  const startedAt = performance.now()
  const elapsedMs = () => performance.now() - startedAt
  const say = (doing: string) => onProgress?.({ elapsedMs: elapsedMs(), operations: trace.operations, doing })
  say('quiet')
  await sleep(QUIET_MS, undefined, { signal })
  for (let played = 0; 'ms' in length ? elapsedMs() < length.ms : played < length.rounds; played++) {
    const round = rounds.next().value
    say(round.map(({ kind, target }) => `${kind} ${target}`).join(', '))
    await play(scene, round)
    say('until the cluster is whole')
    await untilWhole(scene)
    say('quiet')
    await sleep(QUIET_MS, undefined, { signal })
  }
}

/** Every fault ends, also when another one did not work. */
async function play(scene: Scene, round: Round): Promise<void> {
  const results = await Promise.allSettled(round.map(plan => inject(scene, plan)))
  for (const result of results) if (result.status === 'rejected') throw result.reason
}

async function inject(scene: Scene, plan: PlannedFault): Promise<void> {
  await sleep(plan.afterMs)
  const end = await FAULTS[plan.kind](scene, plan)
  await sleep(plan.holdMs)
  await end()
}

/** Every node follows the primary, and every router uses every node. A router that does not find back by itself fails the run. */
async function untilWhole({ cluster, routers }: Pick<Scene, 'cluster' | 'routers'>): Promise<void> {
  await cluster.caughtUp(undefined, { timeoutMs: WHOLE_TIMEOUT_MS })
  await untilRouters(
    routers,
    status =>
      status.length === cluster.nodes.length &&
      status.every(({ node, role, usable }) => usable && (role === 'primary') === (node === cluster.primary)),
    'every router used every node again',
    WHOLE_TIMEOUT_MS,
  )
}

async function collectEnd(cluster: Cluster, trace: Trace): Promise<void> {
  trace.witnessed(await versionsOn(cluster, cluster.primary))
  const finals = await cluster.query<{ key: string; value: string | null }>(cluster.primary, 'SELECT key, value FROM item')
  trace.ended(finals.map(final => ({ type: 'final', ...final })))
}
