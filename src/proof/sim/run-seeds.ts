/** Plays many seeds on several threads. */
import { once } from 'node:events'
import { setFlagsFromString } from 'node:v8'
import { Worker } from 'node:worker_threads'
import type { Focus } from './focus.js'
import { type Coverage, type SeedReport, Tally } from './seed-report.js'
import { SLOT, type WorkerInput, type WorkerMessage } from './worker-protocol.js'

export interface RunOptions {
  readonly from: number
  readonly seeds: number
  /** Operations a seed. */
  readonly ops: number
  readonly jobs: number
  /** Only those of the seeds are played. Default: all. */
  readonly focus?: Focus | undefined
  /** The compiled `worker.js` of the tree to run. Default: this one's. */
  readonly worker?: URL
  /** The run ends at the first violation. Default: when this many seeds have failed. */
  readonly maxFailures?: number
  readonly signal?: AbortSignal
  readonly onProgress?: (played: number, failed: number) => void
}

export interface RunReport {
  readonly seeds: number
  readonly ops: number
  /** Of each seed that failed, in the order of the seeds. */
  readonly failures: readonly SeedReport[]
  readonly coverage: Coverage
}

/** A seed takes some hundredths of a second; one that has not come back after this long hangs. */
const STUCK_MS = 60_000
/**
 * A collection of the old generation forgets the compiled code of every function that lives within a world, which is then compiled
 * again: by V8's own measure that is every 25 seeds, and takes a fifth of the time. So all threads together have this much before
 * the first.
 */
const OLD_MB = 1_024
/** Worlds come and go: most of what they are made of dies young, and is not to be moved before. */
const YOUNG_MB = 32

/** Resolves when all has been played, or enough has failed. Rejects when a thread dies or a seed hangs, and names the seed. */
export async function runSeeds(options: RunOptions): Promise<RunReport> {
  const { from, seeds, ops, jobs, maxFailures = Number.POSITIVE_INFINITY, signal, onProgress } = options
  const shared = new SharedArrayBuffer(4 * (SLOT.first + jobs))
  const board = new Int32Array(shared)
  const tally = new Tally()
  const failures: SeedReport[] = []
  let played = 0
  let operations = 0
  const take = (message: WorkerMessage) => {
    if (message.kind === 'played') {
      played += message.seeds
      operations += message.ops
      tally.addAll(message.coverage)
    } else failures.push(message.report)
    onProgress?.(played, failures.length)
  }
  const stop = () => Atomics.store(board, SLOT.stop, 1)
  signal?.addEventListener('abort', stop)
  // Of every thread that begins from now on: its `resourceLimits` have only upper bounds.
  setFlagsFromString(`--initial-old-space-size=${Math.floor(OLD_MB / jobs)}`)
  setFlagsFromString(`--min-semi-space-size=${YOUNG_MB}`)
  setFlagsFromString(`--max-semi-space-size=${YOUNG_MB}`)
  const file = options.worker ?? new URL('./worker.js', import.meta.url)
  const threads = Array.from({ length: jobs }, (_, slot) => {
    const workerData: WorkerInput = { from, seeds, ops, maxFailures, focus: options.focus, shared, slot }
    return watch(new Worker(file, { workerData }), () => Atomics.load(board, SLOT.first + slot), take)
  })
  try {
    await Promise.all(threads.map(({ done }) => done))
    signal?.throwIfAborted()
  } finally {
    signal?.removeEventListener('abort', stop)
    await Promise.all(threads.map(({ end }) => end()))
  }
  failures.sort((a, b) => a.seed - b.seed)
  return { seeds: played, ops: operations, failures, coverage: tally.coverage }
}

/** One thread: settles with it, and fails when it has played one seed for too long. */
function watch(thread: Worker, playing: () => number, take: (message: WorkerMessage) => void) {
  let last = Number.NaN
  let stuck: (error: Error) => void = () => {}
  const hung = new Promise<never>((_, reject) => {
    stuck = reject
  })
  const timer = setInterval(() => {
    const seed = playing()
    if (seed === last) stuck(new Error(`seed ${seed} hangs: it has been played for more than ${STUCK_MS} ms`))
    last = seed
  }, STUCK_MS)
  thread.on('message', take)
  const failed = once(thread, 'exit').catch((cause: unknown) => {
    const said = cause instanceof Error ? cause.message : String(cause)
    throw new Error(`the thread that played seed ${playing()} died: ${said}`, { cause })
  })
  const done = Promise.race([failed, hung]).finally(() => clearInterval(timer))
  return {
    done,
    end: async () => {
      clearInterval(timer)
      await thread.terminate()
    },
  }
}
