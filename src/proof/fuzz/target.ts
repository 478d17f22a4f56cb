import type fc from 'fast-check'

/**
 * What is wrong with a case.
 *
 * - `accepted`: a forged input had an effect, or what was taken for a read has written.
 * - `crash`: an error that is not one of the declared ones.
 * - `wait`: it took longer than its bound, or made somebody else wait.
 */
export interface Finding {
  readonly kind: 'accepted' | 'crash' | 'wait'
  /** What happened, in words. */
  readonly message: string
}

/** Something that takes input from outside, and how it is to take bad input. */
export interface Target<Case = unknown> {
  readonly name: string
  readonly cases: fc.Arbitrary<Case>
  /** Feeds one case. Whatever it throws is a crash. */
  check(input: Case): Finding | undefined | Promise<Finding | undefined>
  /** How many turns it has when others have one: its cases take longer. Default 1. */
  readonly turns?: number
  /** Longer than this, in milliseconds of this process's processor time, is a `wait`. Absent: only the deadline counts. */
  readonly cpuBoundMs?: number
  /** A case that has not ended after this many milliseconds hangs, which is a `wait`. */
  readonly deadlineMs: number
  /** How often each kind of answer was seen. They tell that the cases reach what they are meant to reach. */
  readonly seen: Tally
  close(): Promise<void>
}

/** Counts by name. */
export class Tally {
  readonly counts: Record<string, number> = {}

  count(name: string): void {
    this.counts[name] = (this.counts[name] ?? 0) + 1
  }
}

/** A target to be opened; `undefined` when something that it needs is not installed. */
export interface TargetSource {
  readonly name: string
  open(): Promise<Target | undefined>
}
