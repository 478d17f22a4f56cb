/**
 * Verifies the guarantee on a cluster: users write and read back at once on every path from an application to its data, while the
 * replicas lag; the history of all that goes to the checker, which knows nothing of how reads are routed.
 */
import { setMaxListeners } from 'node:events'
import { loadDriver } from '../engines/postgres/driver.js'
import { allEnded, withCleanUp } from './clean-up.js'
import { runLagSchedule } from './lag-schedule.js'
import { Pace } from './pace.js'
import type { Path } from './path.js'
import { balancedPath } from './paths/balanced-path.js'
import { controlPaths } from './paths/control-paths.js'
import { HttpApplication } from './paths/http-paths.js'
import type { PathContext } from './paths/path-context.js'
import { sessionPaths } from './paths/session-paths.js'
import { strategyPaths } from './paths/strategy-paths.js'
import { runPromotion } from './promotion.js'
import { RawNodes } from './raw-nodes.js'
import { MAX_OPERATIONS, Recorder } from './recorder.js'
import { reportOf, type SkippedPath, type VerifyReport } from './report.js'
import { Routers } from './routers.js'
import { Scratch } from './scratch.js'
import type { Target } from './target.js'
import { usersOf, type WorkloadContext } from './workload.js'

export type { VerifyReport } from './report.js'

export interface VerifyOptions {
  /** How long users write and read. Where there is a failover, a tenth of it comes afterwards. */
  readonly durationMs: number
  /** Writes a second at most, of all paths together; each is followed by four reads. */
  readonly rate: number
  /** Users of each path at a time. */
  readonly sessions: number
  readonly signal: AbortSignal
  readonly onProgress: (progress: Progress) => void
  /** Something that an operator should know: what could not be cleaned up, and what earlier runs left. */
  readonly onWarning: (message: string) => void
}

export interface Progress {
  readonly elapsedMs: number
  readonly durationMs: number
  readonly reads: number
}

const APPLICATION_NAME = 'tidemark verify'
const PROGRESS_MS = 250
const PROMOTION_SHARE = 0.1

/**
 * Resolves to what was found. Rejects with the signal's reason when it aborts, with `VerifyError` when no run can be made, and with
 * the driver's errors. The schema is dropped before, in each case; the target stays open.
 */
export async function verify(target: Target, options: VerifyOptions): Promise<VerifyReport> {
  const { signal, onWarning } = options
  const raw = new RawNodes(target.nodes, await loadDriver(), APPLICATION_NAME)
  const scratch = new Scratch(raw)
  const onSchema = async () => {
    for (const schema of await scratch.leftOvers()) {
      onWarning(
        `a run that was killed has left a schema; if none is under way, run on the primary: drop schema ${schema} cascade;`,
      )
    }
    await scratch.create(signal)
    const routers = await Routers.open(target, APPLICATION_NAME)
    return withCleanUp(
      () => withApplication({ target, routers, scratch, raw }, options),
      () => routers.close(),
      onWarning,
    )
  }
  return withCleanUp(
    () => withCleanUp(onSchema, () => scratch.drop(), onWarning),
    () => raw.close(),
    onWarning,
  )
}

async function withApplication(context: PathContext, options: VerifyOptions): Promise<VerifyReport> {
  const application = await HttpApplication.listen(context.routers.shared, context.scratch)
  return withCleanUp(
    async () => run(context, await pathsOf(context, application), options),
    () => application.close(),
    options.onWarning,
  )
}

interface Paths {
  readonly fenced: readonly Path[]
  readonly control: readonly Path[]
  readonly skipped: readonly SkippedPath[]
}

async function pathsOf(context: PathContext, application: HttpApplication): Promise<Paths> {
  const balanced = await balancedPath(context)
  const skipped: SkippedPath[] = []
  if (balanced === undefined) skipped.push({ path: 'balanced address', reason: 'no --balanced URL was given' })
  if (context.target.failOver === undefined) {
    skipped.push({ path: 'after promotion', reason: 'nothing is promoted on a cluster that is not ours: use --embedded' })
  }
  const others = [...(await sessionPaths(context)), ...application.paths]
  const fenced = [...strategyPaths(context), ...others, ...(balanced === undefined ? [] : [balanced])]
  return { fenced, control: controlPaths(context), skipped }
}

async function run(context: PathContext, { fenced, control, skipped }: Paths, options: VerifyOptions): Promise<VerifyReport> {
  const { durationMs } = options
  const startedAt = performance.now()
  const recorders = { fenced: new Recorder(), control: new Recorder() }
  const progress = setInterval(
    () => options.onProgress({ elapsedMs: performance.now() - startedAt, durationMs, reads: recorders.fenced.reads }),
    PROGRESS_MS,
  )
  try {
    const { failOver } = context.target
    const promotionMs = failOver === undefined ? 0 : durationMs * PROMOTION_SHARE
    await runUsers(context, { fenced, control }, recorders, { ...options, durationMs: durationMs - promotionMs })
    // Before a failover cuts off what those have written who look no more.
    let finals = await context.scratch.everything()
    if (failOver !== undefined) {
      const { target, routers } = context
      const { rate, sessions } = options
      const signal = sharedSignal(options.signal)
      const paced = () => new Pace(rate, promotionMs, signal)
      const workload = workloadOf(context, recorders.fenced)
      await runPromotion({ target, failOver, routers, sessions, signal, paced }, workload)
      finals = new Map([...(await context.scratch.everything()), ...finals])
    }
    if (recorders.fenced.full) options.onWarning(`the run ended early: a history has room for ${MAX_OPERATIONS} operations`)
    const seconds = (performance.now() - startedAt) / 1_000
    return reportOf({ ...recorders, finals, skipped, seconds, lag: context.target.lag === undefined ? 'found' : 'injected' })
  } finally {
    clearInterval(progress)
  }
}

/** All paths at a time, while replicas lag. What one of them fails with ends the others. */
async function runUsers(
  context: PathContext,
  { fenced, control }: Pick<Paths, 'fenced' | 'control'>,
  recorders: { readonly fenced: Recorder; readonly control: Recorder },
  { durationMs, rate, sessions, signal: calledOff }: VerifyOptions,
): Promise<void> {
  const users = [
    ...fenced.map(path => usersOf(path, sessions, workloadOf(context, recorders.fenced))),
    ...control.map(path => usersOf(path, sessions, workloadOf(context, recorders.control))),
  ]
  // The pace gives turns in this order: so each path has one before any has two, and its users meet the lag at different times.
  const inTurn = Array.from({ length: sessions }, (_, index) => users.map(ofPath => ofPath[index]!)).flat()
  const failed = new AbortController()
  const stop = (reason: unknown) => failed.abort(reason)
  const signal = sharedSignal(calledOff, failed.signal)
  await allEnded(
    inTurn.map(user => user.warmUp()),
    stop,
  )
  const pace = new Pace(rate, durationMs, signal)
  const ended = new AbortController()
  const working = allEnded(
    inTurn.map(user => user.run(pace)),
    stop,
  ).finally(() => ended.abort())
  const { lag, nodes } = context.target
  const replicas = nodes.map(({ name }) => name).filter(name => !context.routers.isPrimary(name))
  const lagging = lag === undefined ? [] : [runLagSchedule(lag, replicas, durationMs, ended.signal)]
  await allEnded([working, ...lagging], stop)
}

function workloadOf({ scratch, raw, routers }: PathContext, recorder: Recorder): WorkloadContext {
  return { scratch, raw, recorder, isPrimary: node => routers.isPrimary(node) }
}

/** Aborts with the first of these. Every user listens to it. */
function sharedSignal(...signals: AbortSignal[]): AbortSignal {
  const shared = AbortSignal.any(signals)
  setMaxListeners(0, shared)
  return shared
}
