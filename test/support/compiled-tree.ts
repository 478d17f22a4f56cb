import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

const PROJECT = join(import.meta.dirname, '..', '..')

/** The sources as they are compiled, below the project so that they find the project's dependencies. */
export class CompiledTree {
  readonly directory: string

  static async compile(): Promise<CompiledTree> {
    mkdirSync(join(PROJECT, '.tmp'), { recursive: true })
    const directory = mkdtempSync(join(PROJECT, '.tmp', 'tree-'))
    const compiler = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin', 'tsc')
    const arguments_ = [compiler, '-p', join(PROJECT, 'tsconfig.build.json'), '--outDir', directory]
    // What is wrong with the types is another check's business; what was written is what counts here.
    const failure = await promisify(execFile)(process.execPath, arguments_).catch((error: unknown) => error)
    if (!existsSync(join(directory, 'proof', 'sim', 'main.js')))
      throw new Error('the sources were not compiled', { cause: failure })
    return new CompiledTree(directory)
  }

  private constructor(directory: string) {
    this.directory = directory
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true })
  }
}
