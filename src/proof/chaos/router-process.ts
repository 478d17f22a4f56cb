/** One router: the application in a process of its own, which ends with its parent. */
import { type ApplicationConfig, startApplication } from './application.js'

const config = JSON.parse(process.argv[2]!) as ApplicationConfig

// The parent has gone, however.
process.on('disconnect', () => process.exit())

let stop: (() => Promise<void>) | undefined
process.on('SIGTERM', () => {
  void (stop?.() ?? Promise.resolve()).finally(() => process.exit())
})

startApplication(config).then(
  started => {
    stop = started
    process.send?.('listening')
  },
  (error: unknown) => {
    process.stderr.write(`${String(error)}\n`)
    process.exit(1)
  },
)
