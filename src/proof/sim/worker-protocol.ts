/** What a run and its threads say to each other. */
import type { Focus } from './focus.js'
import type { Coverage, SeedReport } from './seed-report.js'

/** Places in the memory that all threads share: whole numbers of 32 bits. */
export const SLOT = Object.freeze({
  /** How many seeds have been taken. */
  next: 0,
  /** Not 0: nobody takes another one. */
  stop: 1,
  /** How many of those taken have been played: not those out of focus. */
  played: 2,
  /** How many have failed. */
  failed: 3,
  /** From here on, one a thread: the seed that it plays. */
  first: 4,
})

export interface WorkerInput {
  readonly from: number
  readonly seeds: number
  readonly ops: number
  /** When so many have failed, nobody takes another one. */
  readonly maxFailures: number
  /** Only those of the seeds are played. */
  readonly focus: Focus | undefined
  readonly shared: SharedArrayBuffer
  readonly slot: number
}

export type WorkerMessage =
  | { readonly kind: 'played'; readonly seeds: number; readonly ops: number; readonly coverage: Coverage }
  | { readonly kind: 'failed'; readonly report: SeedReport }
