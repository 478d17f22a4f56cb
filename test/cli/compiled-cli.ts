import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const PROJECT = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

export interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** The CLI as it is published, or another program of the project, compiled below the project so that it finds the project's dependencies. */
export class CompiledCli {
  /** Where it was compiled to: the whole package. */
  readonly directory: string
  readonly #program: string
  readonly #children: ChildProcess[] = []

  /** `program`: relative to what is compiled. */
  static async compile(program = join('cli', 'main.js')): Promise<CompiledCli> {
    mkdirSync(join(PROJECT, '.tmp'), { recursive: true })
    const directory = mkdtempSync(join(PROJECT, '.tmp', 'cli-'))
    const compiler = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin', 'tsc')
    const arguments_ = [compiler, '-p', join(PROJECT, 'tsconfig.build.json'), '--outDir', directory]
    // What is wrong with the types is another check's business; what was written is what counts here.
    const failure = await promisify(execFile)(process.execPath, arguments_).catch((error: unknown) => error)
    await promisify(execFile)(process.execPath, [join(PROJECT, 'scripts', 'copy-page.mjs'), directory])
    const cli = new CompiledCli(directory, program)
    if (!existsSync(cli.#main)) throw new Error('the CLI was not compiled', { cause: failure })
    return cli
  }

  private constructor(directory: string, program: string) {
    this.directory = directory
    this.#program = program
  }

  /** Starts a command line. `env` is all that it gets besides the search path. */
  start(args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
    const child = spawn(process.execPath, [this.#main, ...args], { env: { PATH: process.env.PATH, ...env } })
    this.#children.push(child)
    return child
  }

  async run(args: readonly string[], env?: NodeJS.ProcessEnv): Promise<Finished> {
    const child = this.start(args, env)
    const [stdout, stderr, [code]] = await Promise.all([text(child.stdout!), text(child.stderr!), once(child, 'exit')])
    return { code, stdout, stderr }
  }

  /** Breaks a compiled file on purpose, for what comes after. Throws when it does not have the text exactly once. */
  patch(file: string, text: string, instead: string): void {
    const path = join(this.directory, file)
    const parts = readFileSync(path, 'utf8').split(text)
    if (parts.length !== 2) throw new Error(`${file} has "${text}" ${parts.length - 1} times, not once`)
    writeFileSync(path, parts.join(instead))
  }

  remove(): void {
    for (const child of this.#children) child.kill('SIGKILL')
    rmSync(this.directory, { recursive: true })
  }

  get #main(): string {
    return join(this.directory, this.#program)
  }
}
