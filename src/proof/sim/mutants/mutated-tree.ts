/** A copy of the compiled tree with one mutant's patch, below the project, so that packages are found from there. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Edit, Mutant } from './mutant.js'

/** What the simulator loads of the tree. */
const LOADED = ['core', 'http', 'engines/simulated', 'testing/history', 'proof/sim'] as const

/** Throws when the line that the mutant patches has gone, or is not the only one. */
export function patched(source: string, { file, find, replace }: Edit, name: string): string {
  const times = source.split(find).length - 1
  if (times !== 1) {
    throw new Error(`the mutant ${name} patches a line of ${file} that occurs ${times} times, not once: ${JSON.stringify(find)}`)
  }
  // A function, since a text would have its dollar signs read as patterns.
  return source.replace(find, () => replace)
}

export class MutatedTree {
  readonly directory: string

  /** Throws when the patch does not apply; nothing is left behind then. */
  constructor(compiled: string, temporary: string, mutant: Mutant) {
    const files = new Map<string, string>()
    for (const edit of mutant.edits) {
      const source = files.get(edit.file) ?? readFileSync(join(compiled, edit.file), 'utf8')
      files.set(edit.file, patched(source, edit, mutant.name))
    }
    mkdirSync(temporary, { recursive: true })
    this.directory = mkdtempSync(join(temporary, `${mutant.name}-`))
    for (const part of LOADED) {
      cpSync(join(compiled, part), join(this.directory, part), {
        recursive: true,
        filter: path => !/\.(map|d\.ts)$/.test(path),
      })
    }
    for (const [file, source] of files) writeFileSync(join(this.directory, file), source)
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true })
  }
}
