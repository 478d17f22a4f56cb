import { ENGINE_MUTANTS } from './engine.js'
import type { Mutant } from './mutant.js'
import { POSITION_MUTANTS } from './positions.js'
import { SESSION_MUTANTS } from './sessions.js'

/** Worlds that could show these do not come up often enough yet: they are not counted, and not run unless named. */
const NOT_CAUGHT_YET: readonly string[] = [
  'settled-by-any-answer',
  'quorum-over-changed-membership',
  'read-bound-too-low',
  'unknown-timeline-guessed',
  'balanced-checked-elsewhere',
  'hlc-without-persistence',
]

export const ALL_MUTANTS: readonly Mutant[] = [...POSITION_MUTANTS, ...SESSION_MUTANTS, ...ENGINE_MUTANTS]

export const MUTANTS: readonly Mutant[] = ALL_MUTANTS.filter(({ name }) => !NOT_CAUGHT_YET.includes(name))
