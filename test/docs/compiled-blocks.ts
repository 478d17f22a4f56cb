import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Block } from './document.js'
import { PRELUDE } from './prelude.js'

export const PROJECT = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

const TSC = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin', 'tsc')

/** A block and the document it stands in. */
export interface PlacedBlock extends Block {
  readonly document: string
}

/**
 * Blocks compiled against the package as it is published: its compiled code and types, found by its name through its `exports`.
 * Below the project, so that they find the packages installed there.
 */
export class CompiledBlocks {
  readonly #directory: string
  readonly #output: string

  static async compile(blocks: readonly PlacedBlock[]): Promise<CompiledBlocks> {
    mkdirSync(join(PROJECT, '.tmp'), { recursive: true })
    const directory = mkdtempSync(join(PROJECT, '.tmp', 'docs-'))
    const { name, type, exports } = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8'))
    writeJson(join(directory, 'package.json'), { name, type, exports })
    // What is wrong with the library's own types is another check's business.
    await tsc('-p', join(PROJECT, 'tsconfig.build.json'), '--outDir', join(directory, 'dist'))

    for (const part of ['programs', 'fragments']) {
      mkdirSync(join(directory, part))
      writeJson(join(directory, part, 'tsconfig.json'), {
        extends: join(PROJECT, 'tsconfig.json'),
        compilerOptions: { noEmit: false, paths: {}, rootDir: '.', noUnusedLocals: false, noUnusedParameters: false },
        include: ['.'],
      })
    }
    writeFileSync(join(directory, 'fragments', 'prelude.d.mts'), PRELUDE)
    for (const block of blocks) {
      // Empty lines in front make the compiler's line numbers those of the document.
      writeFileSync(`${join(directory, stem(block))}.mts`, `${'\n'.repeat(block.line - 1)}${block.code}\n`)
    }
    const outputs = await Promise.all(
      ['programs', 'fragments'].map(part => tsc('-p', join(directory, part), '--pretty', 'false')),
    )
    return new CompiledBlocks(directory, outputs.join('\n'))
  }

  private constructor(directory: string, output: string) {
    this.#directory = directory
    this.#output = output
  }

  /** What the compiler says of a block; of everything else without one. Line numbers are those of the document. */
  errors(block?: PlacedBlock): string[] {
    const name = block && `${basename(stem(block))}.mts`
    return this.#output.split('\n').flatMap(line => {
      const [, path, rest] = /^(\S+)(\(\d+,\d+\): error .*)$/.exec(line) ?? []
      if (path === undefined) return []
      const file = basename(path)
      if (name === undefined) return /\.L\d+\.mts$/.test(file) ? [] : [line]
      return file === name ? [`${block!.document}${rest}`] : []
    })
  }

  /** The compiled module of a block. */
  path(block: PlacedBlock): string {
    return `${join(this.#directory, stem(block))}.mjs`
  }

  remove(): void {
    rmSync(this.#directory, { recursive: true })
  }
}

function stem({ kind, document, line }: PlacedBlock): string {
  return join(kind === 'fragment' ? 'fragments' : 'programs', `${document.replaceAll('/', '-')}.L${line}`)
}

function writeJson(path: string, value: unknown): void {
  writeFileSync(path, JSON.stringify(value, null, 2))
}

/** What the compiler prints. It writes its output also when it finds errors. */
async function tsc(...args: string[]): Promise<string> {
  const run = promisify(execFile)(process.execPath, [TSC, ...args], { cwd: PROJECT })
  return run.then(
    ({ stdout }) => stdout,
    (error: { readonly stdout?: string }) => {
      if (!error.stdout) throw error
      return error.stdout
    },
  )
}
