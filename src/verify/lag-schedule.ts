import { setTimeout as sleep } from 'node:timers/promises'
import type { LagControl } from './target.js'

/** A step lasts this part of the run, within these bounds. */
const STEPS = 10
const MIN_STEP_MS = 400
const MAX_STEP_MS = 5_000
/** Shorter and longer than what the default ladder waits for. */
const SHORT_MS = 30
const LONG_MS = 500

/**
 * Makes replicas lag in changing ways until the signal aborts, over and over: all far behind; one of them paused as well; all a
 * little behind; none. Whatever a step changed is undone before the next; what is in force at the end, the lag control's owner puts back.
 */
export async function runLagSchedule(
  lag: LagControl,
  replicas: readonly string[],
  durationMs: number,
  until: AbortSignal,
): Promise<void> {
  const stepMs = Math.min(MAX_STEP_MS, Math.max(MIN_STEP_MS, durationMs / STEPS))
  const delayAll = (ms: number) => Promise.all(replicas.map(node => lag.delay(node, ms)))
  const rest = () => sleep(stepMs, undefined, { signal: until }).catch(() => {})
  for (let round = 0; !until.aborted; round++) {
    const paused = replicas[round % replicas.length]
    await delayAll(LONG_MS)
    await rest()
    if (until.aborted || paused === undefined) return
    await lag.pause(paused)
    await rest()
    await lag.resume(paused)
    if (until.aborted) return
    await delayAll(SHORT_MS)
    await rest()
    if (until.aborted) return
    await delayAll(0)
    await rest()
  }
}
