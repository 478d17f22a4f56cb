import { constants } from 'node:os'
import fc from 'fast-check'
import { EXIT } from '../../cli/command.js'
import { COMMANDS, runCommandLine } from '../../cli/command-line.js'
import { Terminal } from '../../cli/terminal.js'
import { hostileText } from './hostile-text.js'
import { Tally, type Target } from './target.js'

/** Options that some command takes, as its help names them. */
const OPTIONS = [...new Set(COMMANDS.flatMap(({ help }) => help.match(/--[a-z-]+/g) ?? []))]
const VALUES = [
  '0',
  '1',
  '-1',
  '1e9',
  'NaN',
  '',
  '99999999999999999999',
  '0x10',
  'two-level',
  'postgres://127.0.0.1:1/a',
  'postgres://',
  '/dev/null',
  'http://x',
  'AAAAAAAA',
]

// What the shell hands over holds no NUL. A lone '-' is standard input, which nobody ends here.
const text = fc
  .oneof(
    fc.constantFrom(...VALUES),
    hostileText.filter(each => each.length < 2_000),
  )
  .map(each => (each === '-' ? '--' : each.replaceAll('\0', '')))
const option = fc.constantFrom(...OPTIONS, '--help', '-h', '--', '--no-json', '---', '-xyz', '--__proto__', '--constructor')
const argument = fc.oneof(
  { weight: 3, arbitrary: option },
  text,
  fc.tuple(option, text).map(([name, value]) => `${name}=${value}`),
)
const name = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...COMMANDS.map(each => each.name)) },
  fc.constantFrom('--version', '--help', '-h', '__proto__', 'constructor'),
  text,
)

/** What an error looks like that nobody meant to show. */
const UNMEANT =
  /\n\s+at .*[:(]\d+|\b(TypeError|RangeError|ReferenceError|SyntaxError)\b|is not a function|Cannot read propert|\[object |ERR_[A-Z_]+/

export interface CommandLineTargetOptions {
  readonly run?: typeof runCommandLine
}

/**
 * Any arguments: it ends with one of its exit codes, and says in words why. Whatever was understood is called off before it
 * can do anything.
 */
export function commandLineTarget({ run = runCommandLine }: CommandLineTargetOptions = {}): Target<string[]> {
  const seen = new Tally()
  return {
    name: 'command-line',
    seen,
    cpuBoundMs: 1_000,
    deadlineMs: 20_000,
    cases: fc
      .tuple(fc.option(name, { freq: 20, nil: undefined }), fc.array(argument, { maxLength: 5 }))
      .map(([first, rest]) => (first === undefined ? rest : [first, ...rest])),
    async check(args) {
      const written = { stdout: '', stderr: '' }
      const collect = (stream: keyof typeof written) => ({
        write: (text: string) => {
          written[stream] += text
        },
      })
      const interruption = new AbortController()
      const terminal = new Terminal({
        stdout: collect('stdout'),
        stderr: collect('stderr'),
        env: {},
        signal: interruption.signal,
      })
      const ending = run(args, terminal)
      // Arguments are looked at first, and at once.
      setImmediate(() => interruption.abort('SIGINT'))
      const code = await ending
      seen.count(`exit ${code}`)
      const output = written.stdout + written.stderr
      const known = [EXIT.OK, EXIT.FAILED, EXIT.USAGE, 128 + constants.signals.SIGINT]
      if (!known.includes(code)) return { kind: 'crash', message: `exit code ${code}` }
      if (!saidByCaller(args) && UNMEANT.test(output))
        return { kind: 'crash', message: `it shows an error that nobody meant to show: ${output.slice(0, 1_000)}` }
      if (code === EXIT.USAGE && written.stdout !== '')
        return { kind: 'crash', message: 'a usage error, and something on stdout' }
      if (code !== EXIT.OK && code <= EXIT.USAGE && output === '')
        return { kind: 'crash', message: `exit code ${code}, and not a word` }
      return undefined
    },
    async close() {},
  }
}

/** Messages quote arguments. */
function saidByCaller(args: readonly string[]): boolean {
  return UNMEANT.test(args.join('\n'))
}
