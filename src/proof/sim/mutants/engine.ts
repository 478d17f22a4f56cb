/** Mutants of what an engine has to do: rules 1 and 2, on the simulated one. */
import type { Mutant } from './mutant.js'

export const ENGINE_MUTANTS: readonly Mutant[] = []
