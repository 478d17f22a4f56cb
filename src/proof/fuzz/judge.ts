import type { Finding, Target } from './target.js'

/** A slow case is slow every time; a machine that had something else to do is not. */
const TIMINGS = 3

const HUNG = Symbol('hung')

/** Errors that nobody caught while a case ran: in a server's event, in a promise that was let go. */
const uncaught: unknown[] = []

/** From here on an error that nobody catches is a finding, not the end of the process. Call the result to end that. */
export function catchUncaught(): () => void {
  const note = (error: unknown) => uncaught.push(error)
  // Node waits 1 ms then, and not what it was told: nobody means that.
  const noteOverflow = (warning: Error) => warning.name === 'TimeoutOverflowWarning' && note(warning)
  process.on('uncaughtException', note).on('unhandledRejection', note).on('warning', noteOverflow)
  return () => {
    process.off('uncaughtException', note).off('unhandledRejection', note).off('warning', noteOverflow)
  }
}

/** Feeds a case to its target and says what is wrong with how it was taken. Never rejects. */
export async function judge<Case>(target: Target<Case>, input: Case): Promise<Finding | undefined> {
  uncaught.length = 0
  let leastMs = Number.POSITIVE_INFINITY
  for (let timing = 0; timing < TIMINGS; timing++) {
    const startedAt = process.cpuUsage()
    const finding = await fed(target, input)
    const { user, system } = process.cpuUsage(startedAt)
    if (finding !== undefined) return finding
    // Node tells of a rejection that nobody listens to when all promises have had their turn.
    await new Promise(resolve => setImmediate(resolve))
    if (uncaught.length > 0) return { kind: 'crash', message: `nobody caught: ${described(uncaught[0])}` }
    leastMs = Math.min(leastMs, (user + system) / 1_000)
    if (target.cpuBoundMs === undefined || leastMs <= target.cpuBoundMs) return undefined
  }
  return { kind: 'wait', message: `it takes ${leastMs.toFixed(0)} ms of processor time, more than ${target.cpuBoundMs} ms` }
}

async function fed<Case>(target: Target<Case>, input: Case): Promise<Finding | undefined> {
  let timer: NodeJS.Timeout | undefined
  const deadline = new Promise<typeof HUNG>(resolve => {
    timer = setTimeout(resolve, target.deadlineMs, HUNG)
  })
  try {
    const outcome = await Promise.race([target.check(input), deadline])
    if (outcome === HUNG) return { kind: 'wait', message: `it has not ended after ${target.deadlineMs} ms` }
    return outcome
  } catch (error) {
    return { kind: 'crash', message: described(error) }
  } finally {
    clearTimeout(timer)
  }
}

export function described(error: unknown): string {
  return error instanceof Error ? (error.stack ?? String(error)) : `not even an error: ${String(error)}`
}
