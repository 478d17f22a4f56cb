import type { Focus } from '../focus.js'

/** A deliberately broken version of one rule. */
export interface Mutant {
  /** Kebab-case, unique. */
  readonly name: string
  /** What is broken, in words. */
  readonly breaks: string
  /** One line, or two that belong together. */
  readonly edits: readonly Edit[]
  /** What it takes for the rule to matter. Default: any seed. */
  readonly focus?: Focus
}

export interface Edit {
  /** The compiled file, relative to the compiled tree. */
  readonly file: string
  /** What is replaced: must occur exactly once. */
  readonly find: string
  readonly replace: string
}
