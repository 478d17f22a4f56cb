import fc from 'fast-check'
import { judge } from './judge.js'
import type { Finding, Target } from './target.js'

export interface BatchOptions {
  /** Cases follow from it, and from nothing else. */
  readonly seed: number
  /** One case of the seed's, as fast-check names it: which one, and shrunk how. Default: all, from the first. */
  readonly path?: string | undefined
  /** No case begins after this time. */
  readonly timeLimitMs: number
}

export interface Failure extends Finding {
  readonly target: string
  /** The case, shrunk, as source text. */
  readonly input: string
  readonly seed: number
  readonly path: string
}

export interface Batch {
  readonly cases: number
  readonly failure?: Failure
}

/** Cases of one seed at most. */
const MAX_CASES = 1_000
/** The smallest case that still fails is looked for, for this long. */
const SHRINKING_MS = 5_000
const MAX_INPUT_CHARACTERS = 4_000

class FoundError extends Error {
  readonly finding: Finding
  constructor(finding: Finding) {
    super(finding.message)
    this.finding = finding
  }
}

/** Feeds cases to a target until one fails, and then shrinks that one. */
export async function runBatch<Case>(target: Target<Case>, { seed, path, timeLimitMs }: BatchOptions): Promise<Batch> {
  let cases = 0
  let endsAt = performance.now() + timeLimitMs
  const property = fc.asyncProperty(target.cases as fc.Arbitrary<unknown>, async input => {
    // fast-check's own time limits leave the case that is under way to itself; the next one would meet it.
    if (performance.now() >= endsAt) return
    cases++
    const finding = await judge(target as Target, input)
    if (finding !== undefined) throw new FoundError(finding)
  })
  const once = path === undefined ? { numRuns: MAX_CASES } : { numRuns: 1, path }
  const first = await fc.check(property, { seed, endOnFailure: true, ...once })
  if (!first.failed) return { cases }
  const counted = cases
  endsAt = performance.now() + SHRINKING_MS
  const shrunk = path === undefined ? await fc.check(property, { seed, path: first.counterexamplePath ?? '0' }) : first
  return { cases: counted, failure: failureOf(target.name, seed, shrunk.failed ? shrunk : first, shrunk.failed) }
}

function failureOf(target: string, seed: number, details: fc.RunDetails<[unknown]>, repeatable: boolean): Failure {
  const { errorInstance, counterexample, counterexamplePath } = details
  const finding: Finding =
    errorInstance instanceof FoundError ? errorInstance.finding : { kind: 'crash', message: String(errorInstance) }
  const text = fc.stringify(counterexample?.[0])
  const input = text.length > MAX_INPUT_CHARACTERS ? `${text.slice(0, MAX_INPUT_CHARACTERS)}… (${text.length} characters)` : text
  const note = repeatable ? '' : ' (it failed once, and not when it was tried again)'
  return { target, kind: finding.kind, message: finding.message + note, input, seed, path: counterexamplePath ?? '0' }
}
