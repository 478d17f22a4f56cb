#!/usr/bin/env node
import { constants } from 'node:os'
import { EXIT } from './command.js'
import { runCommandLine } from './command-line.js'
import { Terminal } from './terminal.js'

/** Ctrl-C asks a command to end in order; a second one ends the process, which still removes a demo's servers. */
function interruption(): AbortSignal {
  const controller = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (controller.signal.aborted) process.exit(128 + constants.signals[signal])
      controller.abort(signal)
    })
  }
  return controller.signal
}

// Whoever reads our output may stop early (`| head`).
process.stdout.on('error', error => process.exit((error as NodeJS.ErrnoException).code === 'EPIPE' ? EXIT.OK : EXIT.FAILED))

const { stdout, stderr, env } = process
process.exitCode = await runCommandLine(process.argv.slice(2), new Terminal({ stdout, stderr, env, signal: interruption() }))
