/** Plays seeds on each mutant until a rule is found broken. */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { runSeeds } from '../run-seeds.js'
import type { Mutant } from './mutant.js'
import { MutatedTree } from './mutated-tree.js'

export interface MutantReport {
  readonly name: string
  /** The first rule found broken; empty when none was. */
  readonly rule: string
  readonly caught: boolean
  /** Seeds it took. */
  readonly seeds: number
}

export interface MutantOptions {
  /** The compiled tree. */
  readonly compiled: string
  /** Where copies of it are put meanwhile; must be below the project. */
  readonly temporary: string
  readonly from: number
  /** A mutant that has survived this many seeds is not caught. */
  readonly maxSeeds: number
  readonly ops: number
  /** Mutants at a time, each on a thread of its own: so the seeds it takes do not depend on the machine. */
  readonly jobs: number
  readonly signal?: AbortSignal
  /** `seed`: the one that broke the rule, if one did. */
  readonly onReport?: (report: MutantReport, seed: number | undefined) => void
}

/** In the order of `mutants`. Rejects when a patch does not apply, before any seed is played. */
export async function runMutants(mutants: readonly Mutant[], options: MutantOptions): Promise<readonly MutantReport[]> {
  const trees = plant(mutants, options)
  try {
    const reports: MutantReport[] = []
    let next = 0
    const take = async () => {
      for (let index = next++; index < mutants.length; index = next++) {
        options.signal?.throwIfAborted()
        reports[index] = await run(mutants[index]!, trees[index]!, options)
      }
    }
    await Promise.all(Array.from({ length: options.jobs }, take))
    return reports
  } finally {
    for (const tree of trees) tree.remove()
  }
}

function plant(mutants: readonly Mutant[], { compiled, temporary }: MutantOptions): MutatedTree[] {
  const trees: MutatedTree[] = []
  try {
    for (const mutant of mutants) trees.push(new MutatedTree(compiled, temporary, mutant))
    return trees
  } catch (error) {
    for (const tree of trees) tree.remove()
    throw error
  }
}

async function run({ name, focus }: Mutant, tree: MutatedTree, options: MutantOptions): Promise<MutantReport> {
  const { maxSeeds, ops, signal } = options
  const worker = pathToFileURL(join(tree.directory, 'proof', 'sim', 'worker.js'))
  const common = { ops, jobs: 1, maxFailures: 1, ...(signal && { signal }) }
  let from = options.from
  let played = 0
  while (played < maxSeeds) {
    const { seeds, failures } = await runSeeds({ ...common, from, seeds: maxSeeds - played, focus, worker })
    played += seeds
    const [failure] = failures
    if (failure === undefined) break
    // What is broken without the mutant as well does not catch it.
    const control = await runSeeds({ ...common, from: failure.seed, seeds: 1 })
    from = failure.seed + 1
    if (control.failures.length > 0) continue
    const report = { name, rule: failure.violations[0]!.rule, caught: true, seeds: played }
    options.onReport?.(report, failure.seed)
    return report
  }
  const report = { name, rule: '', caught: false, seeds: played }
  options.onReport?.(report, undefined)
  return report
}
