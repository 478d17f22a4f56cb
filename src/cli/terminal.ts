import { styleText } from 'node:util'

/** Where text goes: `process.stdout`, `process.stderr`, or whatever collects it. */
export interface TextStream {
  readonly isTTY?: boolean
  write(text: string): unknown
  /** A terminal's own opinion; it honours `NO_COLOR` and the like. */
  hasColors?(env?: object): boolean
}

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan'
export type Paint = (style: Style, text: string) => string

export interface TerminalOptions {
  readonly stdout: TextStream
  readonly stderr: TextStream
  readonly env: NodeJS.ProcessEnv
  /** Aborts when the user has had enough (Ctrl-C). */
  readonly signal: AbortSignal
}

/** What a command may know of the outside. Results go to stdout; progress and warnings to stderr. */
export class Terminal {
  readonly env: NodeJS.ProcessEnv
  readonly signal: AbortSignal
  /** Colours text for stdout, where that is a terminal. */
  readonly paint: Paint
  /** Whether stdout is a terminal, so that what is on it can be replaced. */
  readonly interactive: boolean
  readonly #stdout: TextStream
  readonly #stderr: TextStream
  #progressShown = false

  constructor({ stdout, stderr, env, signal }: TerminalOptions) {
    this.env = env
    this.signal = signal
    this.#stdout = stdout
    this.#stderr = stderr
    this.interactive = stdout.isTTY === true
    this.paint = painter(stdout, env)
  }

  print(...lines: readonly string[]): void {
    this.progress('')
    this.#stdout.write(`${lines.join('\n')}\n`)
  }

  /** Prints over all that is on the screen. */
  reprint(...lines: readonly string[]): void {
    if (this.interactive) this.#stdout.write('\x1b[H\x1b[2J')
    this.print(...lines)
  }

  warn(message: string): void {
    this.progress('')
    this.#stderr.write(`${painter(this.#stderr, this.env)('yellow', message)}\n`)
  }

  fail(message: string): void {
    this.progress('')
    this.#stderr.write(`${painter(this.#stderr, this.env)('red', message)}\n`)
  }

  /** Says what is going on, in a line that the next one replaces; nothing where nobody watches. Empty: erases the line. */
  progress(message: string): void {
    if (this.#stderr.isTTY !== true || (message === '' && !this.#progressShown)) return
    this.#stderr.write(`\r\x1b[K${painter(this.#stderr, this.env)('dim', message)}`)
    this.#progressShown = message !== ''
  }
}

function painter(stream: TextStream, env: NodeJS.ProcessEnv): Paint {
  if (stream.isTTY !== true || stream.hasColors?.(env) === false) return (_, text) => text
  return (style, text) => (text === '' ? text : styleText(style, text, { validateStream: false }))
}

/** Text from elsewhere, harmless to a terminal: control characters are shown as `\u{…}`. */
export function printable(text: string): string {
  return text.replaceAll(/\p{C}/gu, char => `\\u{${char.codePointAt(0)!.toString(16)}}`)
}
