import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { checkCommand } from './check/check-command.js'
import { type Command, EXIT } from './command.js'
import { dashboardCommand } from './dashboard/dashboard-command.js'
import { demoCommand } from './demo/demo-command.js'
import { describeError, UsageError } from './errors.js'
import { statusCommand } from './status/status-command.js'
import type { Terminal } from './terminal.js'
import { tokenCommand } from './token/token-command.js'
import { verifyCommand } from './verify/verify-command.js'

/** Everything that `tidemark` can do. */
export const COMMANDS: readonly Command[] = [
  demoCommand,
  verifyCommand,
  statusCommand,
  dashboardCommand,
  tokenCommand,
  checkCommand,
]

const HELP = `Read-your-writes over replicated databases.

Usage: tidemark <command> [options]

Commands:
${COMMANDS.map(({ name, summary }) => `  ${name.padEnd(10)} ${summary}`).join('\n')}

Options:
  -h, --help     Show this, or the help of a command
  -v, --version  Show the version

Exit codes: 0 fine, 1 failed, 2 the command line was not understood.`

/** Runs one command line and resolves to its exit code. Never rejects. */
export async function runCommandLine([name = '', ...args]: readonly string[], terminal: Terminal): Promise<number> {
  if (name === '--version' || name === '-v') {
    terminal.print(createRequire(import.meta.url)('tidemark/package.json').version)
    return EXIT.OK
  }
  if (name === '--help' || name === '-h') {
    terminal.print(HELP)
    return EXIT.OK
  }
  const command = COMMANDS.find(each => each.name === name)
  if (command === undefined) {
    terminal.fail(name === '' ? 'tidemark: which command?' : `tidemark: there is no command '${name}'`)
    terminal.warn(HELP)
    return EXIT.USAGE
  }
  if (args.includes('--help') || args.includes('-h')) {
    terminal.print(command.help)
    return EXIT.OK
  }
  try {
    return await command.run(args, terminal)
  } catch (error) {
    if (terminal.signal.aborted) return 128 + constants.signals[terminal.signal.reason as NodeJS.Signals]
    terminal.fail(`tidemark ${name}: ${describeError(error)}`)
    if (!(error instanceof UsageError)) return EXIT.FAILED
    terminal.warn(`Run 'tidemark ${name} --help' to see what it takes.`)
    return EXIT.USAGE
  }
}
