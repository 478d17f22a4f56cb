import fc from 'fast-check'
import { judge } from './judge.js'
import type { Finding, Target } from './target.js'

export interface BatchOptions {
  /** Cases follow from it, and from nothing else. */
  readonly seed: number
  /** Which case of the seed's to begin with, as fast-check names it; and shrunk how. Default: the first. */
  readonly path?: string | undefined
  /** No case begins after this time. */
  readonly timeLimitMs: number
  /** Default: as many as there is time for. */
  readonly maxCases?: number
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

/** Where the smallest case that still fails is looked for, this long. */
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
export async function runBatch<Case>(target: Target<Case>, options: BatchOptions): Promise<Batch> {
  const { seed, path, timeLimitMs, maxCases = Number.MAX_SAFE_INTEGER } = options
  const property = fc.asyncProperty(target.cases, async input => {
    const finding = await judge(target, input)
    if (finding !== undefined) throw new FoundError(finding)
  })
  const limits = { numRuns: maxCases, interruptAfterTimeLimit: timeLimitMs, markInterruptAsFailure: false }
  const first = await fc.check(property, { seed, endOnFailure: true, ...limits, ...(path !== undefined && { path }) })
  if (!first.failed) return { cases: first.numRuns }
  const from = first.counterexamplePath ?? '0'
  const shrunk =
    path !== undefined ? first : await fc.check(property, { seed, path: from, interruptAfterTimeLimit: SHRINKING_MS })
  const details = shrunk.failed && shrunk.counterexample !== null ? shrunk : first
  const { errorInstance, counterexample, counterexamplePath } = details
  const { kind, message } =
    errorInstance instanceof FoundError ? errorInstance.finding : { kind: 'crash' as const, message: String(errorInstance) }
  const text = fc.stringify(counterexample?.[0])
  const input = text.length > MAX_INPUT_CHARACTERS ? `${text.slice(0, MAX_INPUT_CHARACTERS)}… (${text.length} characters)` : text
  const note = details === first && path === undefined ? ' (not repeatable: it failed once, and then did not)' : ''
  const failure = { target: target.name, kind, message: message + note, input, seed, path: counterexamplePath ?? from }
  return { cases: first.numRuns, failure }
}
