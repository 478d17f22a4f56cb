/** A deliberately broken version of one rule. */
export interface Mutant {
  /** Kebab-case, unique. */
  readonly name: string
  /** What the broken rule is, in words. */
  readonly breaks: string
  /** The compiled file, relative to the compiled tree. */
  readonly file: string
  /** What is replaced: must occur exactly once. */
  readonly find: string
  readonly replace: string
}
