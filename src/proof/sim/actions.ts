/** What an application does within one request, written down as what it is told. */
import { TidemarkError } from '../../core/errors.js'
import type { FencedCache } from '../../core/fenced-cache.js'
import { allWrites } from '../../core/history.js'
import type { Outcome } from '../../core/outcome.js'
import type { Position } from '../../core/position.js'
import { SESSION_CACHE } from '../../core/router.js'
import type { Simulation } from '../../engines/simulated/simulation.js'
import type { Row } from '../../engines/simulated/statements.js'
import type { ReadValue, WrittenValue } from '../../testing/history/record.js'
import type { AppSession } from './app-session.js'
import type { Noted } from './recorder.js'
import type { ActionPlan, RouterPlan } from './schedule.js'
import type { Tally } from './seed-report.js'
import { ladderOf } from './strategies.js'

/**
 * Whoever gave up is answered within this time. A write that was sent is committed or not, and its position is on the way to the
 * store, which has 100 ms by the router's clock, at half the pace of true time at the slowest.
 */
const GIVING_UP_MS = 250
/**
 * Whoever gave up between the commit and its position is told that it is done, when the server has been asked for the position
 * once more, or has not answered for a second by the router's clock.
 */
const ASKING_AGAIN_MS = 2_000
/** A cache that hangs is waited for 250 ms by the router's clock, to look and to set: for each key that is invalidated. */
const INVALIDATING_MS = 1_000
/** Beyond every time-out there is, one after another, on the slowest clock. */
export const LONGEST_MS = 30_000

/** Whether a write that has been acknowledged went to an old primary, and the router could have known. */
export type Overlooked = (writes: readonly WrittenValue[]) => boolean

export interface ActionContext {
  readonly simulation: Simulation
  readonly session: AppSession
  readonly cache: FencedCache
  /** What the router does unless the action says otherwise: a preset by its name, or rungs. */
  readonly strategy: RouterPlan['strategy']
  /** On the way back. */
  readonly travelMs: number
  readonly tally: Tally
  /** Who of the replicas a pin would look at, and which of them lack a position; `undefined` while nothing can be pinned. */
  readonly replicas: (needed: Position) => { readonly who: string; readonly lacking: readonly string[] } | undefined
  readonly watchNewest: (brought: Position) => Overlooked
  readonly lives: () => ReadonlyMap<string, string>
  /** What a server's readers see now, and in which of its lives; `undefined` for an address that is no server's. */
  readonly look: (node: string) => ServerLook | undefined
  /** After a write of this key has been acknowledged. */
  readonly invalidated: (key: string, written: readonly WrittenValue[]) => void
}

export interface ServerLook {
  readonly life: string
  readonly values: ReadonlyMap<string, string>
}

/** Does it, and writes down in `noted` what came of it. Never rejects. */
export async function act(plan: ActionPlan, noted: Noted, context: ActionContext): Promise<void> {
  const { simulation, tally } = context
  const abort = abortAfter(plan.abortMs, simulation)
  const mayTakeMs = plan.abortMs === undefined ? LONGEST_MS : plan.abortMs + GIVING_UP_MS
  const writes = plan.action === 'write' || plan.action === 'transaction'
  const invalidatingMs = writes ? plan.keys.length * INVALIDATING_MS : 0
  noted.deadlineMs = simulation.now() - noted.start + mayTakeMs + invalidatingMs + context.travelMs
  if (plan.scoped) tally.add('scoped action')
  if (plan.asyncCommit && writes) tally.add('commit asynchronous')
  tally.add(`action ${plan.action}`)
  const overlooked = writes ? context.watchNewest(allWrites(context.session.history)) : undefined
  try {
    if (plan.action === 'write') await write(plan, noted, context, abort?.signal)
    else if (plan.action === 'transaction') await transaction(plan, noted, context, abort?.signal)
    else if (plan.action === 'cached') await cached(plan, noted, context)
    else await read(plan, noted, context, abort?.signal)
    noted.status = 'ok'
  } catch (error) {
    const { code = 'other', committed } = error as { code?: string; committed?: boolean }
    noted.error = error instanceof TidemarkError ? error.code : abort?.signal.aborted ? 'gave up' : code
    noted.status = statusOf(noted, committed === true)
    noted.doubted = noted.status === 'unknown' && abort?.signal.aborted !== true
    if (noted.error === 'TIDEMARK_LOST_WRITE') noted.reportsLoss = true
    tally.add(`error ${noted.error}`)
  } finally {
    abort?.cancel()
    if (noted.status === 'ok' && overlooked?.(noted.writes ?? [])) noted.overlooked = true
    const askedAgain = writes && noted.status === 'ok' && context.session.lastWrite?.position === undefined
    if (askedAgain && abort?.signal.aborted) noted.deadlineMs += ASKING_AGAIN_MS
    noted.end ??= simulation.now()
  }
}

async function read(plan: ActionPlan, noted: Noted, context: ActionContext, signal: AbortSignal | undefined): Promise<void> {
  const { session } = context
  const [key] = plan.keys
  const ladder = plan.ladder === undefined ? undefined : ladderOf(plan.ladder)
  const lives = context.lives()
  const certain = !session.history.uncertain && session.arriving === undefined && !plan.scoped
  const needed = allWrites(session.history)
  const strategy = plan.ladder ?? context.strategy
  const before = certain && pinsFirst(strategy) ? context.replicas(needed) : undefined
  const options = { scope: plan.scoped ? plan.keys : undefined, ladder, signal, cache: plan.cache ? key : undefined }
  const rows =
    plan.action === 'snapshot'
      ? await session.transaction(transaction => transaction.read(plan.keys), { readOnly: true, ...options })
      : await session.read(plan.keys, options)
  noted.reads = valuesOf(rows)
  const outcome = session.lastOutcome
  noteOutcome(noted, outcome, strategy)
  const after = before && context.replicas(needed)
  const letGo =
    outcome !== undefined &&
    outcome.node !== SESSION_CACHE &&
    outcome.rung !== 'pinned' &&
    outcome.rung !== 'primary' &&
    // What is possibly lost, of what it has read as well, no replica can be waited for to have: such a read is not pinned.
    !outcome.possiblyLost &&
    outcome.reroutes === 0
  // The same replicas as before, and each only ever has more: who lacks it now lacked it when the pin let go.
  if (letGo && after !== undefined && after.who === before?.who) noted.unpinnedBehind = after.lacking
  const served = outcome && !plan.scoped ? context.look(outcome.node) : undefined
  // Within one life a server only ever has more: what it lacks now, it lacked when it served.
  if (served !== undefined && lives.get(outcome!.node) === served.life) noted.served = served.values
}

/** Whether it begins with a pin that holds until every replica has caught up. */
function pinsFirst(strategy: RouterPlan['strategy']): boolean {
  if (typeof strategy === 'string') return strategy === 'leader-reads'
  const [first] = strategy
  return first?.rung === 'pinned' && first.to === 'node' && first.maxShare === 1
}

async function write(plan: ActionPlan, noted: Noted, context: ActionContext, signal: AbortSignal | undefined): Promise<void> {
  const entries = entriesOf(plan, noted)
  const { asyncCommit } = plan
  const options = {
    scope: plan.scoped ? plan.keys : undefined,
    signal,
    cache: plan.cache ? plan.keys[0] : undefined,
    asyncCommit,
  }
  noted.writes = writtenOf(await context.session.write(entries, options))
  noted.end = context.simulation.now()
  await invalidate(plan.keys, noted.writes, context)
}

async function transaction(
  plan: ActionPlan,
  noted: Noted,
  context: ActionContext,
  signal: AbortSignal | undefined,
): Promise<void> {
  const entries = entriesOf(plan, noted)
  const [rows, written] = await context.session.transaction(
    async transaction => {
      const before = await transaction.read(plan.keys)
      return [before, await transaction.write(entries)] as const
    },
    { scope: plan.scoped ? plan.keys : undefined, signal, asyncCommit: plan.asyncCommit },
  )
  noted.end = context.simulation.now()
  noted.reads = valuesOf(rows)
  noted.writes = writtenOf(written)
  noted.path = 'transaction'
  await invalidate(plan.keys, noted.writes, context)
}

/** Through the cache that all routers share. */
async function cached(plan: ActionPlan, noted: Noted, { session, cache, strategy, tally }: ActionContext): Promise<void> {
  const [key] = plan.keys as [string]
  let outcome: Outcome | undefined
  const load = async (reader: AppSession) => {
    const rows = await reader.read([key])
    outcome = reader.lastOutcome
    return valuesOf(rows)
  }
  noted.reads = await cache.get(session, key, load)
  if (outcome !== undefined) noteOutcome(noted, outcome, strategy)
  else tally.add('cached value served')
  noted.path = 'shared cache'
}

async function invalidate(
  keys: readonly string[],
  written: readonly WrittenValue[],
  { session, cache, invalidated }: ActionContext,
): Promise<void> {
  for (const [i, key] of keys.entries()) if (await cache.invalidate(session, key)) invalidated(key, written.slice(i, i + 1))
}

function entriesOf({ keys }: ActionPlan, noted: Noted): readonly (readonly [string, string])[] {
  const entries = keys.map(key => [key, `${key}.${noted.id}`] as const)
  noted.writes = entries
  return entries
}

function valuesOf(rows: readonly Row[]): readonly ReadValue[] {
  return rows.map(({ key, value }) => [key, value])
}

function writtenOf(rows: readonly Row[]): readonly WrittenValue[] {
  return rows.map(({ key, value, prev }) => [key, value!, prev])
}

function noteOutcome(noted: Noted, outcome: Outcome | undefined, strategy: RouterPlan['strategy']): void {
  if (outcome === undefined) return
  noted.achieved = outcome.guarantee
  noted.path = outcome.rung
  if (outcome.node === SESSION_CACHE) noted.fromOwnCache = true
  if (outcome.possiblyLost) noted.reportsLoss = true
  // By what was asked for, not by what the code makes of it: no preset degrades.
  const degrades = typeof strategy !== 'string' && strategy.some(({ rung }) => rung === 'stale')
  if (outcome.possiblyLost || degrades) noted.mayDegrade = true
}

/** Errors before anything was sent; after any other one nobody can say whether a write took effect. */
const NOTHING_SENT = [
  'TIDEMARK_NO_PRIMARY',
  'TIDEMARK_CONFIGURATION',
  'TIDEMARK_NOT_SERVED',
  'TIDEMARK_NOT_READY',
  'TIDEMARK_LOST_WRITE',
]

function statusOf({ writes, error = '' }: Noted, committed: boolean): Noted['status'] {
  if (committed) return 'ok'
  return writes === undefined || NOTHING_SENT.includes(error) ? 'failed' : 'unknown'
}

function abortAfter(ms: number | undefined, simulation: Simulation) {
  if (ms === undefined) return undefined
  const controller = new AbortController()
  const timer = simulation.after(ms, () => controller.abort(new Error('gave up')))
  return { signal: controller.signal, cancel: () => timer.cancel() }
}
