import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { duration } from '../../src/cli/format.js'
import { table } from '../../src/cli/table.js'
import { printable, Terminal, type TextStream } from '../../src/cli/terminal.js'
import { CompiledCli } from './compiled-cli.js'

let cli: CompiledCli

beforeAll(async () => {
  cli = await CompiledCli.compile()
})

afterAll(() => cli.remove())

describe('the command line', () => {
  test.each([
    [['--help'], /Usage: tidemark <command>/],
    [['demo', '--help'], /Usage: tidemark demo/],
    [['status', '-h'], /Usage: tidemark status URL/],
    [['token', '--help'], /Usage: tidemark token TOKEN/],
    [['check', '--help'], /Usage: tidemark check FILE/],
    [['verify', '--help'], /Usage: tidemark verify --embedded/],
    [['--version'], /^\d+\.\d+\.\d+\S*\n$/],
  ])('%j explains itself on stdout', async (args, expected) => {
    const { code, stdout, stderr } = await cli.run(args)
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toMatch(expected)
  })

  test.each([
    [[], /which command/],
    [['fly'], /there is no command 'fly'/],
    [['demo', '--fast'], /Unknown option '--fast'/],
    [['demo', 'now'], /Unexpected argument 'now'/],
    [['demo', '--port', 'http'], /--port must be a whole number from 0 to 65535, not 'http'/],
    [['demo', '--replicas', '0'], /--replicas must be a whole number from 1 to 9/],
    [['demo', '--lag'], /--lag/],
    [['demo', '--json'], /--json needs --once/],
    [['demo', '--once', '--port', '80'], /--port is of no use with --once/],
    [['status'], /Expected the URLs/],
    [['status', 'http://localhost'], /begins with http:/],
    [['status', 'postgres://localhost', '--watch', '0'], /--watch takes a number of seconds/],
    [['check'], /Expected the files/],
    [['check', '/not/there.jsonl'], /\/not\/there.jsonl: cannot be read/],
    [['verify'], /Expected --embedded, or --primary URL and --replica URL/],
    [['verify', '--primary', 'postgres://a'], /Expected --embedded, or --primary URL and --replica URL/],
    [['verify', '--embedded', '--inject'], /--inject is of no use with --embedded/],
    [['verify', '--embedded', '--replica', 'postgres://a'], /--replica is of no use with --embedded/],
    [['verify', '--embedded', '--duration', '0'], /--duration must be a whole number from 1 to 3600/],
    [['verify', '--primary', 'http://a', '--replica', 'postgres://b'], /begins with http:/],
    [['verify', '--primary', 'postgres://a', '--replica', 'postgres://a'], /two nodes are called/],
    [['token'], /Expected one token/],
    [['token', 'a', '--secret-env', 'NOT_THERE'], /no variable NOT_THERE/],
    [['token', 'a', '--user', 'ada'], /--user is verified with the secret/],
  ])('%j is a usage error: exit code 2, a reason on stderr, nothing on stdout', async (args, expected) => {
    const { code, stdout, stderr } = await cli.run(args)
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toMatch(expected)
  })
})

/** Collects what is written, and claims to be whatever it is told to be. */
function stream(claims: Partial<TextStream>): TextStream & { text: string } {
  return {
    text: '',
    write(text) {
      this.text += text
    },
    ...claims,
  }
}

function terminalOn(claims: Partial<TextStream>) {
  const stdout = stream(claims)
  const stderr = stream(claims)
  return { stdout, stderr, terminal: new Terminal({ stdout, stderr, env: {}, signal: new AbortController().signal }) }
}

describe('the terminal', () => {
  test('colours what a person sees, shows progress there, and erases it before a result', () => {
    const { terminal, stdout, stderr } = terminalOn({ isTTY: true, hasColors: () => true })
    terminal.progress('working …')
    terminal.print(terminal.paint('red', 'bad'))
    expect(stdout.text).toBe('\x1b[31mbad\x1b[39m\n')
    expect(stderr.text).toContain('working …')
    expect(stderr.text.endsWith('\r\x1b[K')).toBe(true)
  })

  test('is plain where colours are not wanted, and where nobody watches it shows no progress either', () => {
    const unwanted = terminalOn({ isTTY: true, hasColors: () => false })
    expect(unwanted.terminal.paint('red', 'bad')).toBe('bad')

    const { terminal, stdout, stderr } = terminalOn({})
    terminal.progress('working …')
    terminal.warn('careful')
    terminal.reprint(terminal.paint('red', 'bad'))
    expect([stdout.text, stderr.text]).toEqual(['bad\n', 'careful\n'])
  })

  test('aligns a table by what is seen, not by what is sent', () => {
    const rows = [
      ['a', { text: '1000', style: 'red' as const }],
      ['long name', '7'],
    ]
    const columns = [{ title: 'name' }, { title: 'n', align: 'right' as const }]
    const painted = table(columns, rows, (_, text) => `<${text}>`)
    expect(painted).toEqual(['<name>          <n>', 'a          <1000>', 'long name     7'])
  })

  test('is not commanded by text from elsewhere', () => {
    expect(printable('a\x1b[2Jb\u202ec')).toBe('a\\u{1b}[2Jb\\u{202e}c')
  })

  test('tells durations in the unit that fits', () => {
    expect([0.04, 9.96, 35, 1_200, 300_000, 10_800_000, 1e9].map(duration)).toEqual([
      '0.0 ms',
      '10.0 ms',
      '35 ms',
      '1.2 s',
      '5 min',
      '3 h',
      '12 d',
    ])
  })
})
