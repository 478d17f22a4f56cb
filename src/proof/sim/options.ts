import { availableParallelism } from 'node:os'
import { parse, refusePositionals, wholeNumber } from '../../cli/command.js'
import { UsageError } from '../../cli/errors.js'

export const HELP = `Plays the real core on a simulated cluster, on virtual time, from seeds; a checker judges the history of each.

Usage: npm run sim -- [options]

  --seeds N     How many seeds (default 1000)
  --from K      The first one (default 1)
  --ops N       Operations of clients a seed (default 500)
  --jobs N      Threads (default: all cores)
  --seed K      Plays this one alone and prints its history
  --keep LIST   With --seed: only these steps of its schedule, as a failure prints them
  --mutants     Plays deliberately broken versions instead; each must be caught
  --only NAMES  With --mutants: these alone, with commas between them
  --json        Prints one JSON object, and no progress

Exit codes: 0 all holds, 1 something does not, 2 the command line was not understood.`

export interface RunSettings {
  readonly mode: 'run'
  readonly seeds: number
  readonly from: number
  readonly ops: number
  readonly jobs: number
  readonly json: boolean
}

export interface ReplaySettings {
  readonly mode: 'replay'
  readonly seed: number
  readonly ops: number
  readonly keep: string | undefined
  readonly json: boolean
}

export interface MutantSettings {
  readonly mode: 'mutants'
  readonly seeds: number
  readonly from: number
  readonly ops: number
  readonly jobs: number
  readonly only: string | undefined
  readonly json: boolean
}

export type SimSettings = RunSettings | ReplaySettings | MutantSettings | { readonly mode: 'help' }

const MAX_SEED = 2 ** 31
const DEFAULT_SEEDS = 1_000
const DEFAULT_OPS = 500
/** A mutant that survives this many is not caught. */
const DEFAULT_MUTANT_SEEDS = 400

/** Throws `UsageError` when the arguments cannot be understood. */
export function parseSimOptions(args: readonly string[]): SimSettings {
  const { values, positionals } = parse(args, {
    seeds: { type: 'string' },
    from: { type: 'string' },
    ops: { type: 'string' },
    jobs: { type: 'string' },
    seed: { type: 'string' },
    keep: { type: 'string' },
    mutants: { type: 'boolean' },
    only: { type: 'string' },
    json: { type: 'boolean' },
    help: { type: 'boolean', short: 'h' },
  })
  refusePositionals(positionals)
  if (values.help) return { mode: 'help' }
  const json = values.json ?? false
  const ops = wholeNumber('--ops', values.ops, DEFAULT_OPS, 1, 1_000_000)
  if (values.keep !== undefined && values.seed === undefined)
    throw new UsageError('--keep needs --seed: the steps are of one seed')
  if (values.only !== undefined && !values.mutants) throw new UsageError('--only needs --mutants: it names one of them')
  if (values.seed !== undefined) {
    if (values.mutants) throw new UsageError('--seed and --mutants exclude each other')
    return { mode: 'replay', seed: wholeNumber('--seed', values.seed, 0, 0, MAX_SEED), ops, keep: values.keep, json }
  }
  const from = wholeNumber('--from', values.from, 1, 0, MAX_SEED)
  const jobs = wholeNumber('--jobs', values.jobs, availableParallelism(), 1, 256)
  const seeds = (fallback: number) => wholeNumber('--seeds', values.seeds, fallback, 1, MAX_SEED)
  if (values.mutants) return { mode: 'mutants', seeds: seeds(DEFAULT_MUTANT_SEEDS), from, ops, jobs, only: values.only, json }
  return { mode: 'run', seeds: seeds(DEFAULT_SEEDS), from, ops, jobs, json }
}
