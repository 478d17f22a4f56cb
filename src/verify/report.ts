import { checkHistory } from '../testing/history/check-history.js'
import type { FinalRecord, OperationRecord } from '../testing/history/record.js'
import type { HistoryReport } from '../testing/history/report.js'
import { percentile } from './percentile.js'
import type { Measured, Recorder } from './recorder.js'

export interface PathReport {
  readonly path: string
  /** Reads that were answered. */
  readonly reads: number
  /** Cases in which one of the checker's rules was broken. */
  readonly violations: number
  /** Reads that the primary served. */
  readonly fallbacks: number
  /** What the path takes longer than the driver alone does on the same nodes. `null` when nothing was measured. */
  readonly addedP50Ms: number | null
  readonly addedP99Ms: number | null
  readonly writes: number
  /** Writes that a read without a fence missed, sent to a replica at the time of the first read: where 0, nothing tried the path. */
  readonly atRisk: number
  /** Reads that were refused, openly: nothing that the ladder allows could serve. */
  readonly refused: number
  /** Reads whose outcome says that they gave less than was asked, by a rung that allows it. */
  readonly degraded: number
  /** The largest staleness window of a node that served; `null` when none was known. */
  readonly stalenessMs: number | null
  /** The first error of a read, in words. */
  readonly error: string | null
}

export interface ControlReport {
  readonly reads: number
  /** Reads that lacked their own session's write. */
  readonly violations: number
  readonly replicas: readonly {
    readonly path: string
    readonly reads: number
    readonly violations: number
    /** How long ago the oldest write was acknowledged, at most, that a read lacked. */
    readonly stalenessMs: number
  }[]
}

export interface SkippedPath {
  readonly path: string
  readonly reason: string
}

export interface VerifyReport {
  /** Whether the run proves anything: reads without a fence missed writes, and every path served reads. */
  readonly conclusive: boolean
  /** Why it does not, in words. */
  readonly inconclusive: readonly string[]
  /** Of all paths. */
  readonly reads: number
  readonly writes: number
  readonly violations: number
  readonly seconds: number
  /** Whether replicas were made to lag. */
  readonly lag: 'injected' | 'found'
  readonly control: ControlReport
  readonly paths: readonly PathReport[]
  readonly skipped: readonly SkippedPath[]
  /** The first violations of each path, in words. */
  readonly counterexamples: readonly { readonly path: string; readonly rule: string; readonly message: string }[]
}

export interface Run extends Pick<VerifyReport, 'skipped' | 'seconds' | 'lag'> {
  readonly fenced: Recorder
  readonly control: Recorder
  /** What the keys of all paths held in the end. */
  readonly finals: ReadonlyMap<string, string>
}

/** Judges what was recorded. */
export async function reportOf({ fenced, control, finals, skipped, seconds, lag }: Run): Promise<VerifyReport> {
  const checked = await Promise.all(
    [...fenced.paths].map(async ([path, measured]) => ({ path, measured, history: await check(fenced, path, finals) })),
  )
  const paths = checked.map(({ path, measured, history }) => pathReport(path, measured, history))
  const controlled = await controlReport(control, finals)
  const inconclusive = whyNot(controlled, paths)
  return {
    conclusive: inconclusive.length === 0,
    inconclusive,
    reads: sum(paths, each => each.reads),
    writes: sum(paths, each => each.writes),
    violations: sum(paths, each => each.violations),
    seconds,
    lag,
    control: controlled,
    paths,
    skipped,
    counterexamples: checked.flatMap(({ path, history }) =>
      history.violations.map(({ rule, message }) => ({ path, rule, message })),
    ),
  }
}

/**
 * The history of one path. That the paths may be judged one by one is sound: no two have a session or a key in common. A value that
 * came over from another path is one from nowhere here.
 */
function check(recorder: Recorder, path: string, finals: ReadonlyMap<string, string>): Promise<HistoryReport> {
  const operations = recorder.records.filter(record => record.path === path)
  return checkHistory([...operations, ...finalRecords(operations, finals)])
}

function finalRecords(operations: readonly OperationRecord[], finals: ReadonlyMap<string, string>): FinalRecord[] {
  const keys = new Set(operations.flatMap(({ writes }) => writes?.map(([key]) => key) ?? []))
  return [...keys].map((key): FinalRecord => ({ type: 'final', key, value: finals.get(key) ?? null }))
}

function pathReport(path: string, measured: Measured, { violationCount }: HistoryReport): PathReport {
  const { reads, writes, atRisk, fallbacks, refused, degraded, stalenessMs, error } = measured
  const added = (part: number) => {
    const [routed, raw] = [percentile(measured.fencedMs, part), percentile(measured.rawMs, part)]
    return routed === undefined || raw === undefined ? null : rounded(routed - raw)
  }
  return {
    path,
    reads,
    violations: violationCount,
    fallbacks,
    addedP50Ms: added(0.5),
    addedP99Ms: added(0.99),
    writes,
    atRisk,
    refused,
    degraded,
    stalenessMs: stalenessMs === undefined ? null : rounded(stalenessMs),
    error: error ?? null,
  }
}

async function controlReport(control: Recorder, finals: ReadonlyMap<string, string>): Promise<ControlReport> {
  const replicas = await Promise.all(
    [...control.paths].map(async ([path, { reads, stalenessMs }]) => {
      const { rules } = await check(control, path, finals)
      return { path, reads, violations: rules['read-your-writes'].violations, stalenessMs: rounded(stalenessMs ?? 0) }
    }),
  )
  return { reads: sum(replicas, each => each.reads), violations: sum(replicas, each => each.violations), replicas }
}

function whyNot({ reads, violations }: ControlReport, paths: readonly PathReport[]): string[] {
  const why: string[] = []
  if (violations === 0) {
    why.push(
      `none of ${reads} reads without a fence missed a write, so there was nothing to prevent: the replicas did not lag enough`,
    )
  }
  for (const { path, reads, error } of paths) {
    if (reads === 0) why.push(`“${path}” served no read${error === null ? '' : `: ${error}`}`)
  }
  return why
}

/** To microseconds. */
function rounded(ms: number): number {
  return Math.round(ms * 1_000) / 1_000
}

function sum<T>(all: readonly T[], count: (each: T) => number): number {
  return all.reduce((total, each) => total + count(each), 0)
}
