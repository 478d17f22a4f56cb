import { ENGINE_MUTANTS } from './engine.js'
import type { Mutant } from './mutant.js'
import { POSITION_MUTANTS } from './positions.js'
import { SESSION_MUTANTS } from './sessions.js'

export const MUTANTS: readonly Mutant[] = [...POSITION_MUTANTS, ...SESSION_MUTANTS, ...ENGINE_MUTANTS]
