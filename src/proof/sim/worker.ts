/**
 * One thread of a run. It takes the next seed that nobody has taken, plays it and tells; until there are none left, or
 * somebody has said stop. Mutants load a copy of this very file from their own patched tree.
 */
import { parentPort, threadId, workerData } from 'node:worker_threads'
import { drawSchedule } from './draw-schedule.js'
import { isInFocus } from './focus.js'
import { playSeed } from './play-seed.js'
import { Tally } from './seed-report.js'
import { SLOT, type WorkerInput, type WorkerMessage } from './worker-protocol.js'

const { from, seeds, ops, maxFailures, focus, shared, slot } = workerData as WorkerInput
const board = new Int32Array(shared)

/** What goes wrong in these worlds goes wrong thousands of times, and nobody looks at where: whoever does, replays the seed. */
Error.stackTraceLimit = 0

/** A focus leaves most seeds out: so many times more are looked at. */
const LOOKED_AT = 50
/** Telling of each seed by itself would cost a tenth of playing it. */
const REPORT_EVERY = 16

async function work(tell: (message: WorkerMessage) => void): Promise<void> {
  let tally = new Tally()
  let played = 0
  let operations = 0
  const flush = () => {
    if (played > 0) tell({ kind: 'played', seeds: played, ops: operations, coverage: tally.coverage })
    tally = new Tally()
    played = operations = 0
  }
  const mostLookedAt = focus === undefined ? seeds : seeds * LOOKED_AT
  for (;;) {
    const index = Atomics.add(board, SLOT.next, 1)
    if (index >= mostLookedAt || Atomics.load(board, SLOT.stop) !== 0) break
    const schedule = drawSchedule(from + index, ops)
    if (focus !== undefined && !isInFocus(schedule, focus)) continue
    if (Atomics.add(board, SLOT.played, 1) >= seeds) break
    Atomics.store(board, SLOT.first + slot, from + index)
    const report = await playSeed(schedule)
    played++
    operations += report.ops
    tally.addAll(report.coverage)
    if (report.violations.length > 0) {
      // Here and now: until it had been told, another seed would be under way.
      if (Atomics.add(board, SLOT.failed, 1) + 1 >= maxFailures) Atomics.store(board, SLOT.stop, 1)
      tell({ kind: 'failed', report: { ...report, coverage: {} } })
    }
    if (played >= REPORT_EVERY || report.violations.length > 0) flush()
  }
  flush()
}

if (parentPort === null) throw new Error(`${import.meta.url} is a worker; thread ${threadId} has no parent`)
const port = parentPort
await work(message => port.postMessage(message))
