import { catchUncaught } from './judge.js'
import { type Failure, runBatch } from './run-batch.js'
import type { Finding, Target, TargetSource } from './target.js'

/** Targets take turns of this length, so that each has had its share whenever the time is up. */
const TURN_MS = 1_000
/** A target that fails over and over is left alone: more of the same helps nobody. */
const MAX_FAILURES = 5

export interface FuzzOptions {
  readonly sources: readonly TargetSource[]
  readonly seconds: number
  readonly seed: number
  /** With the seed that a failure printed: that case and no other. */
  readonly path?: string | undefined
  readonly signal: AbortSignal
  readonly onProgress: (message: string) => void
}

export type Totals = Record<'cases' | 'accepted' | 'crashes' | 'waits', number>

export interface TargetReport extends Totals {
  readonly name: string
  /** How often each kind of answer was seen. */
  readonly seen: Readonly<Record<string, number>>
}

export interface FuzzReport extends Totals {
  readonly seed: number
  readonly seconds: number
  readonly targets: readonly TargetReport[]
  /** Names of targets that need what is not installed. */
  readonly skipped: readonly string[]
  readonly failures: readonly Failure[]
}

interface Running {
  readonly target: Target
  readonly failures: Failure[]
  cases: number
}

const COUNTED: Record<Finding['kind'], 'accepted' | 'crashes' | 'waits'> = {
  accepted: 'accepted',
  crash: 'crashes',
  wait: 'waits',
}

/** Opens the targets, feeds them in turns until the time is up, and closes them. */
export async function fuzz(options: FuzzOptions): Promise<FuzzReport> {
  const release = catchUncaught()
  const running: Running[] = []
  const skipped: string[] = []
  const startedAt = performance.now()
  try {
    for (const source of options.sources) {
      options.onProgress(`Opening ${source.name} …`)
      const target = await source.open()
      if (target === undefined) skipped.push(source.name)
      else running.push({ target, failures: [], cases: 0 })
    }
    await takeTurns(running, options)
  } finally {
    for (const { target } of running) await target.close()
    release()
  }
  return summary(running, skipped, options.seed, (performance.now() - startedAt) / 1_000)
}

async function takeTurns(running: readonly Running[], options: FuzzOptions): Promise<void> {
  const { path, signal, onProgress } = options
  // Opening a database is not fuzzing it.
  const endsAt = performance.now() + options.seconds * 1_000
  for (let round = 0; ; round++) {
    for (const each of running) {
      const leftMs = endsAt - performance.now()
      if (leftMs <= 0 || signal.aborted) return
      if (each.failures.length >= MAX_FAILURES) continue
      onProgress(`${Math.ceil(leftMs / 1_000)} s left, ${total(running)} cases; ${each.target.name} …`)
      const seed = path === undefined ? seedOf(options.seed, round) : options.seed
      const only = path === undefined ? {} : { path }
      const batch = await runBatch(each.target, {
        seed,
        timeLimitMs: Math.min(TURN_MS * (each.target.turns ?? 1), leftMs),
        ...only,
      })
      each.cases += batch.cases
      if (batch.failure !== undefined) each.failures.push(batch.failure)
    }
    if (path !== undefined || running.every(({ failures }) => failures.length >= MAX_FAILURES)) return
  }
}

/** The seed of a round; the first is the run's own, so that a run of a failure's seed begins with its cases. */
function seedOf(seed: number, round: number): number {
  return (seed + Math.imul(round, 0x9e3779b1)) & 0x7fff_ffff
}

function total(running: readonly Running[]): number {
  return running.reduce((sum, { cases }) => sum + cases, 0)
}

function summary(running: readonly Running[], skipped: readonly string[], seed: number, seconds: number): FuzzReport {
  const targets = running.map(({ target, failures, cases }): TargetReport => {
    const totals = { cases, accepted: 0, crashes: 0, waits: 0 }
    for (const { kind } of failures) totals[COUNTED[kind]]++
    return { name: target.name, ...totals, seen: target.seen.counts }
  })
  const sum = (name: keyof Totals) => targets.reduce((all, target) => all + target[name], 0)
  return {
    cases: sum('cases'),
    accepted: sum('accepted'),
    crashes: sum('crashes'),
    waits: sum('waits'),
    seed,
    seconds: Math.round(seconds * 10) / 10,
    targets,
    skipped,
    failures: running.flatMap(({ failures }) => failures),
  }
}

/** The command that repeats exactly one case. */
export function replayCommand({ target, seed, path }: Failure): string {
  return `npm run fuzz -- --target ${target} --seed ${seed} --path ${path}`
}
