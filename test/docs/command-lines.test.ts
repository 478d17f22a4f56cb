/** Every command that the documentation tells somebody to run is one, and takes the options that it is given there. */
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { CompiledCli } from '../cli/compiled-cli.js'
import { PROJECT } from './compiled-blocks.js'

interface CommandLine {
  readonly where: string
  /** `tidemark verify`, or the script of `npm run`. */
  readonly command: string
  readonly options: readonly string[]
}

/** In code, inline or in a block: `tidemark verify --json` or `npm run sim -- --seeds 10`, to the end of the code or of the line. */
const COMMAND_LINE =
  /(?:^|[`\s])(?:npx )?(?:(?<!install )(tidemark [a-z]+)|npm run (sim|chaos|fuzz|bench) --)(?=[ `\n])([^`\n]*)/g

const paths = ['', 'docs', 'examples', 'bench'].flatMap(folder =>
  readdirSync(join(PROJECT, folder)).flatMap(name =>
    name.endsWith('.md') && name !== 'CHANGELOG.md' ? [join(folder, name)] : [],
  ),
)

const commandLines: CommandLine[] = paths.flatMap(path =>
  [...readFileSync(join(PROJECT, path), 'utf8').matchAll(COMMAND_LINE)].flatMap(([, command, script, rest = '']) => {
    // What is said about it behind a `#` is for people.
    const options = [...rest.split(/\s#/)[0]!.matchAll(/(?<=[\s[(|]|^)--?[a-zA-Z][\w-]*/g)].map(([option]) => option)
    return [{ where: path, command: command ?? script!, options }]
  }),
)

let cli: CompiledCli
beforeAll(async () => {
  cli = await CompiledCli.compile()
})
afterAll(() => cli?.remove())

async function helpOf(command: string): Promise<string> {
  const [program, name] = command.split(' ')
  if (name !== undefined) return (await cli.run([name, '--help'])).stdout
  const main = program === 'bench' ? join(PROJECT, 'bench', 'main.mjs') : join(cli.directory, 'proof', program!, 'main.js')
  return (await promisify(execFile)(process.execPath, [main, '--help'])).stdout
}

test('the documentation has command lines of every program', () => {
  const commands = new Set(commandLines.map(({ command }) => command))
  expect([...commands]).toEqual(expect.arrayContaining(['tidemark verify', 'tidemark status', 'sim', 'chaos', 'fuzz', 'bench']))
})

test.each([...new Set(commandLines.map(({ command }) => command))])('%s takes what the documentation gives it', async command => {
  const help = await helpOf(command)
  expect(help).toMatch(/^Usage: /m)
  const known = new Set([...help.matchAll(/--?[a-zA-Z][\w-]*/g)].map(([option]) => option))
  const unknown = commandLines
    .filter(each => each.command === command)
    .flatMap(({ where, options }) => options.filter(option => !known.has(option)).map(option => `${where}: ${command} ${option}`))
  expect(unknown).toEqual([])
})
