/** What a run came to. */
import { checkHistory, type HistoryReport } from '../../testing/index.js'
import type { ChaosRun } from './run-chaos.js'

export interface Verdict {
  readonly ops: number
  readonly faults: Readonly<Record<string, number>>
  readonly violations: number
  readonly lostReported: number
  /** Also those of which nobody could be told any more: every device asks once more at the end. */
  readonly lostUnreported: number
  readonly worstStallMs: number
}

export interface Judged {
  readonly verdict: Verdict
  /** See `Trace`: what is promised to each device, and to each user on both. */
  readonly byDevice: HistoryReport
  readonly byUser: HistoryReport
}

export async function judge({ faults, trace }: ChaosRun): Promise<Judged> {
  const byDevice = await checkHistory(trace.byDevice())
  const byUser = await checkHistory(trace.byUser())
  const { reported, total } = byDevice.lostWrites
  const verdict = {
    ops: trace.operations,
    faults,
    violations: byDevice.violationCount + byUser.violationCount,
    lostReported: reported,
    lostUnreported: total - reported,
    worstStallMs: Math.round(trace.worstStallMs),
  }
  return { verdict, byDevice, byUser }
}

export function holds({ violations, lostUnreported }: Verdict): boolean {
  return violations === 0 && lostUnreported === 0
}

/** Kinds of faults that were asked for and have not happened: then nothing is proven. */
export function missing({ faults }: Verdict): string[] {
  return Object.keys(faults).filter(kind => faults[kind] === 0)
}
