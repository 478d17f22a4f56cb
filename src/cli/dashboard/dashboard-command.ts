import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { ConfigurationError } from '../../core/errors.js'
import { dashboard, toNodeListener } from '../../dashboard/index.js'
import { type Tidemark, tidemark } from '../../engines/postgres/index.js'
import { errorBudget } from '../../observe/index.js'
import { type Command, EXIT, parse, wholeNumber } from '../command.js'
import { UsageError } from '../errors.js'
import type { Terminal } from '../terminal.js'

const DEFAULT_PORT = 8090
const LOOPBACK: readonly string[] = ['127.0.0.1', '::1', 'localhost']

const HELP = `Serves the dashboard for a cluster, without an application.

Usage: tidemark dashboard URL… [options]

Connects to each node as the user in its URL and shows what Tidemark sees: roles, lag, staleness. Reads and writes are those
of this process, so there are none; to see an application's, mount dashboard(db) in it. The page is read-only, and has no
authentication: it listens on this machine only unless told otherwise. With TIDEMARK_SECRET set to the application's secret, the
page's search understands the application's tokens.

Options:
      --port PORT   Of the page (default: ${DEFAULT_PORT}; 0 takes any free one)
      --host HOST   The address to listen on (default: 127.0.0.1)
      --name NAME   What the page calls the database
  -h, --help        Show this

Ctrl-C ends it.`

const OPTIONS = { port: { type: 'string' }, host: { type: 'string' }, name: { type: 'string' } } as const

export const dashboardCommand: Command = {
  name: 'dashboard',
  summary: 'Serve a live page that shows a cluster',
  help: HELP,
  async run(args, terminal) {
    const { values, positionals: nodes } = parse(args, OPTIONS)
    if (nodes.length === 0) throw new UsageError('Expected the URLs of the nodes, such as postgres://user@host:5432/database')
    const port = wholeNumber('--port', values.port, DEFAULT_PORT, 0, 65_535)
    const host = values.host ?? '127.0.0.1'
    const secret = terminal.env.TIDEMARK_SECRET || randomBytes(32).toString('base64url')
    terminal.progress('Asking the nodes …')
    const onWarning = (message: string) => terminal.warn(`warning: ${message}`)
    const db = await tidemark({ name: values.name ?? 'cluster', nodes, secret, onWarning }).catch(asUsage)
    try {
      await serve(db, { host, port }, terminal)
    } finally {
      await db.close()
    }
    return EXIT.OK
  },
}

async function serve(db: Tidemark, { host, port }: { readonly host: string; readonly port: number }, terminal: Terminal) {
  const budget = errorBudget(db)
  const page = dashboard(db, { budget })
  const listener = toNodeListener(page)
  const local = LOOPBACK.includes(host)
  // A page of another site may have its own name lead here (DNS rebinding), and then reads what is meant for this machine alone.
  const server = createServer((request, response) => {
    if (!local || LOOPBACK.includes(hostOf(request.headers.host))) listener(request, response)
    else
      response
        .writeHead(403, { 'content-type': 'text/plain' })
        .end('this page is for this machine: open it by 127.0.0.1 or localhost')
  })
  try {
    server.listen(port, host)
    await once(server, 'listening')
    if (!local) terminal.warn(`warning: anybody who reaches ${host} sees this page; it has no authentication`)
    terminal.print(`Open ${terminal.paint('bold', urlOf(server))}`, 'Ctrl-C ends it.')
    if (!terminal.signal.aborted) await once(terminal.signal, 'abort')
  } finally {
    page.close()
    budget.close()
    server.close()
    server.closeAllConnections()
  }
}

/** Without the port. */
function hostOf(header = ''): string {
  return header.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1')
}

function urlOf(server: Server): string {
  const { address, port, family } = server.address() as AddressInfo
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}/`
}

/** URLs that cannot be used are the command line's fault. */
function asUsage(error: unknown): never {
  const isUrl = error instanceof ConfigurationError && error.cause === undefined
  throw isUrl ? new UsageError(error.message, { cause: error }) : error
}
